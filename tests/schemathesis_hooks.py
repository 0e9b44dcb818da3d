"""What the generated requests aim at: half of them at resources that are there, none at the ground they stand on."""

import json
import os
import random

import schemathesis

# By the word of the path before a parameter; `{id}` of services is SODA's identifier.
PREPARED = json.loads(os.environ["SCHEMATHESIS_PREPARED"])
CHOICE = random.Random(1)


def place(path, name):
    """The word before a parameter in a path."""
    return path.split("/{" + name + "}")[0].rsplit("/", 1)[-1]


def aim(case):
    """Half of the bodies that name something to start name something that is there."""
    body = case.body
    if not isinstance(body, dict) or CHOICE.random() < 0.5:
        return
    if "service" in body:
        body["service"] = CHOICE.choice(["greeting", "prepared"])
        body.pop("pack", None)
        body.pop("workflow", None)
        body.pop("version", None)
    elif "pack" in body:
        body.update(pack="greeting", workflow="greeting", version="1.0.0")
    if "input" in body:
        body["input"] = {"name": "Ada"}


@schemathesis.hook
def before_call(ctx, case, kwargs):
    path = case.operation.path
    chosen = case.path_parameters or {}
    for name in list(chosen):
        known = PREPARED.get(place(path, name) + "/" + name) or PREPARED.get(name)
        # What is deleted was made along the links; what is prepared stays.
        if known and case.method != "DELETE" and CHOICE.random() < 0.5:
            chosen[name] = CHOICE.choice(known)
    aim(case)
    # The caller's own token and tenant are not to be taken away, nor may another one be chosen for all that follows.
    own = {"/v1/tokens/{name}": "admin", "/v1/tenants/{name}": "default"}.get(path)
    if own and chosen.get("name") == own and case.method != "GET":
        chosen["name"] = "prepared"
