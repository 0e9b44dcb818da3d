# What jq has and jaq has not, as far as jq itself can say it.
def toarray: if isarray then . else [.] end;
def trimstr($fix): ltrimstr($fix) | rtrimstr($fix);
def leaf_paths: paths(scalars);
def IN(source): any(source == .; .);
def IN(source; s): any(source == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] = $row);
def INDEX(f): INDEX(.[]; f);
def @csv:
  [.[] | if isnumber or isboolean then tostring elif . == null then ""
         elif isstring then "\"" + (split("\"") | join("\"\"")) + "\""
         else error("an object or array cannot stand in a CSV row") end] | join(",");
def @tsv:
  [.[] | if isnumber or isboolean then tostring elif . == null then ""
         elif isstring then
           (split("\\") | join("\\\\")) | (split("\t") | join("\\t")) | (split("\n") | join("\\n")) | (split("\r") | join("\\r"))
         else error("an object or array cannot stand in a TSV row") end] | join("\t");
