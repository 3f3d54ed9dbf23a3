# What the node's own role opens where participants sign in by themselves: what is the installation's. `Y2VsbHNwYWNl` is the folder, `cellspace`, and
# `aW5zdGFsbGF0aW9u` its owner, `installation`, in base64url.
path "secret/data/cellspace/aW5zdGFsbGF0aW9u/*"                { capabilities = ["create", "read", "update"] }
path "secret/metadata/cellspace/aW5zdGFsbGF0aW9u/*"            { capabilities = ["list", "read", "delete"] }
path "transit/keys/kY2VsbHNwYWNl.aW5zdGFsbGF0aW9u.*"           { capabilities = ["create", "read", "update", "delete"] }
path "transit/sign/kY2VsbHNwYWNl.aW5zdGFsbGF0aW9u.*"           { capabilities = ["update"] }
