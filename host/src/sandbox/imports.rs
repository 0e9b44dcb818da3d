//! What a component really imports, read from its bytes: install compares it with what `pack.yaml` requests.

use wasmparser::{Parser, Payload};

use super::SandboxError;
use crate::model::Digest;

/// The interfaces that a component imports, as `namespace:package/interface@version`, in their order, without compiling
/// it.
///
/// # Errors
/// The bytes are no component.
pub fn imports(bytes: &[u8]) -> Result<Vec<String>, SandboxError> {
    let refuse = |reason: String| SandboxError::Component { digest: Digest::of(bytes), reason };
    if !Parser::is_component(bytes) {
        return Err(refuse("it is not a WebAssembly component; build it for `wasm32-wasip2`".to_owned()));
    }
    let mut names = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| refuse(error.to_string()))? {
            // Modules and components inside have imports of their own, which the component itself serves.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.push(import.map_err(|error| refuse(error.to_string()))?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_component_are_refused() {
        for bad in [&b""[..], b"\0asm\x01\0\0\0", b"text", b"\0asm\x0d\0\x01\0\xff"] {
            assert!(imports(bad).is_err(), "{bad:?}");
        }
        assert_eq!(imports(b"\0asm\x0d\0\x01\0").unwrap(), Vec::<String>::new());
    }
}
