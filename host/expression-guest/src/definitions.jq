# What jq has and jaq has not, or has in another way, as far as jq itself can say it. It comes after jaq's own
# definitions, so that a name that is here hides theirs.

# Values
def scalars: select(isarray or isobject | not);
def toarray: if isarray then . else [.] end;
def have_literal_numbers: true;
def have_decnum: false;
def isvalid(f): try (f | true) catch false;
def toboolean:
  if isboolean then . elif . == "true" then true elif . == "false" then false else error("cannot read this \(type) as a boolean") end;
def gamma: lgamma;
def nearbyint: rint;
def abs: if isnumber | not then error("\(type) has no absolute value") elif . < 0 then - . else . end;

# Texts
def ltrimstr($x): if isstring and ($x | isstring) and startswith($x) then .[($x | length):] else . end;
def rtrimstr($x): if isstring and ($x | isstring) and $x != "" and endswith($x) then .[:length - ($x | length)] else . end;
def trimstr($x): ltrimstr($x) | rtrimstr($x);
def ascii: [.] | implode;
def join($x):
  reduce .[] as $i (null; (if . == null then "" else . + $x end)
    + ($i | if . == null then "" elif isboolean or isnumber then tostring else . end)) // "";
def index($i): indices($i) | .[0];
def rindex($i): indices($i) | .[-1:][0];

# Regular expressions, from _pieces/2: [text, match, text, …]
def _captures: reduce (.captures[] | select(.name != null)) as $group ({}; . + {($group.name): $group.string});
def match($re; $flags): _pieces($re; $flags)[] | objects;
def test($re; $flags): _pieces($re; $flags) | length > 1;
def capture($re; $flags): match($re; $flags) | _captures;
def scan($re; $flags): match($re; "g" + $flags) | if .captures == [] then .string else [.captures[].string] end;
def split($re; $flags): [_pieces($re; "g" + $flags)[] | strings];
def splits($re; $flags): split($re; $flags)[];
def sub($re; f; $flags):
  reduce _pieces($re; $flags)[] as $piece (""; . + ($piece | if isobject then _captures | f else . end));
def gsub($re; f; $flags): sub($re; f; "g" + $flags);
def _flags(f): if isarray then f else [., null] | f end;
def match($re): . as $in | $re | _flags(. as [$re, $flags] | $in | match($re; $flags));
def test($re): . as $in | $re | _flags(. as [$re, $flags] | $in | test($re; $flags));
def capture($re): . as $in | $re | _flags(. as [$re, $flags] | $in | capture($re; $flags));
def scan($re): scan($re; null);
def splits($re): splits($re; null);
def sub($re; f): sub($re; f; null);
def gsub($re; f): sub($re; f; "g");

# Arrays
def flatten($depth):
  def rec($d): if isarray and $d >= 0 then .[] | rec($d - 1) else . end;
  if $depth < 0 then error("flatten depth must not be negative") else [.[] | rec($depth - 1)] end;
def flatten: flatten(1e9);
def nth($n): .[$n];
def nth($n; f): if $n < 0 then error("nth takes no negative index") else first(skip($n; f)) end;
def combinations: if length == 0 then [] else .[0][] as $x | (.[1:] | combinations) as $rest | [$x] + $rest end;
def combinations($n): . as $dot | [range($n) | $dot] | combinations;
def transpose: if . == [] then [] else . as $in | [range(map(length) | max) as $i | [$in[][$i]]] end;

# Objects
def from_entries:
  def key: if .key != null then .key elif .k != null then .k elif .name != null then .name elif .Name != null then .Name
    elif .K != null then .K elif .Key != null then .Key elif has("key") then .key else null end
    | if isstring then . elif isnumber or isboolean or . == null then tojson else error("\(type) cannot be the key of an object") end;
  def content: if has("value") then .value elif has("v") then .v else .Value end;
  reduce (.[] | {(key): content}) as $field ({}; . + $field);
def with_entries(f): to_entries | map(f) | from_entries;
def walk(f): def rec: if isobject then map_values(rec) elif isarray then map(rec) else . end | f; rec;

# Paths
def setpath($path; $value): getpath($path) = $value;
def del(f): delpaths([path(f)]);
def paths: path(..) | select(. != []);
def paths(f): path_value(..) | select(.[0] != [] and (.[1] | f)) | .[0];
def leaf_paths: paths(scalars);
def pick(f): . as $top | reduce path(f) as $path (null; setpath($path; $top | getpath($path)));
def recurse_down: recurse;

# Streams of events
def tostream: path(def rec: (.[]? | rec), .; rec) as $path | getpath($path)
  | reduce path(.[]?) as $last ([$path, .]; [$path + $last]);
def fromstream(events):
  foreach events as $event ({value: null, done: false};
    (if .done then {value: null, done: false} else . end)
    | if $event | length == 2
      then .done = ($event[0] == []) | .value |= setpath($event[0]; $event[1])
      else .done = ($event[0] | length == 1) end;
    if .done then .value else empty end);
def truncate_stream(events):
  . as $depth | null | events | if .[0] | length > $depth then .[0] |= .[$depth:] else empty end;

# As in SQL
def IN(source): any(source == .; .);
def IN(source; s): any(source == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] = $row);
def INDEX(f): INDEX(.[]; f);
def JOIN($index; f): [.[] | [., $index[f]]];
def JOIN($index; stream; f): stream | [., $index[f]];
def JOIN($index; stream; f; join): stream | [., $index[f]] | join;

# Dates
def todateiso8601: strftime("%Y-%m-%dT%H:%M:%SZ");
def todate: todateiso8601;
def date: todate;
def dateadd(unit; n): . + n;
def datesub(unit; n): . - n;

# Formats
def _row(cell): if isarray then map(cell) else error("\(type) is no row: only an array can be one") end;
def @csv:
  _row(if isnumber or isboolean then tostring elif . == null then ""
      elif isstring then "\"" + (split("\"") | join("\"\"")) + "\""
      else error("an object or array cannot stand in a CSV row") end) | join(",");
def @tsv:
  _row(if isnumber or isboolean then tostring elif . == null then ""
      elif isstring then
        (split("\\") | join("\\\\")) | (split("\t") | join("\\t")) | (split("\n") | join("\\n")) | (split("\r") | join("\\r"))
      else error("an object or array cannot stand in a TSV row") end) | join("\t");
def @sh:
  def word: if isstring then "'\(escape_sh)'" elif isarray or isobject then error("\(type) cannot be escaped for a shell") else tojson end;
  if isarray then map(word) | join(" ") else word end;
def @base32: tostring | encode_base32;
def @base32d: tostring | decode_base32;
def @base64d: tostring | rtrimstr("=") | rtrimstr("=") | . + ["", "===", "==", "="][utf8bytelength % 4] | decode_base64;
