//! Type information, and a value read by each of its types.
#![no_main]

use iom_core::object::btf::Btf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let btf = match Btf::parse(bytes) {
        Ok(btf) => btf,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for (id, _) in btf.iter().take(64) {
        btf.name_of(id);
        btf.size_of(id);
        btf.format_value(id, &bytes[..bytes.len().min(64)]);
    }
});
