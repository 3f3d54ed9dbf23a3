# What a participant's token opens: its own folder. ACCESSOR is that of the login (`vault auth list`); `Y2VsbHNwYWNl` is the folder, `cellspace`, in base64url.
path "secret/data/cellspace/{{identity.entity.aliases.ACCESSOR.metadata.participant}}/*"      { capabilities = ["create", "read", "update"] }
path "secret/metadata/cellspace/{{identity.entity.aliases.ACCESSOR.metadata.participant}}/*"  { capabilities = ["list", "read", "delete"] }
path "transit/keys/kY2VsbHNwYWNl.{{identity.entity.aliases.ACCESSOR.metadata.participant}}.*" { capabilities = ["create", "read", "update", "delete"] }
path "transit/sign/kY2VsbHNwYWNl.{{identity.entity.aliases.ACCESSOR.metadata.participant}}.*" { capabilities = ["update"] }
