//! Two objects to link; the result is loaded. Two bytes say where the second one starts.
#![no_main]

use iom_core::object::{LinkInput, link_objects, load_object};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((len, rest)) = bytes.split_first_chunk() else { return };
    let len = usize::from(u16::from_le_bytes(*len));
    let Some((first, second)) = rest.split_at_checked(len) else { return };
    let inputs = [("first", first), ("second", second)];
    let inputs = inputs.map(|(name, bytes)| LinkInput { name, bytes });
    match link_objects(&inputs) {
        Ok(linked) => {
            if let Err(error) = load_object(&linked.bytes, "linked") {
                assert!(!error.to_string().is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
