//! Maps of two modules, matched by name, so that two versions of a program can be compared.

use std::sync::Arc;

use iom_core::abi::{Event, Outcome};
use iom_core::map::{MapSpec, MapType};
use iom_core::module::Module;

use crate::compare::PacketView;

/// The maps of two modules side by side.
#[derive(Clone, Debug)]
pub struct MapPairs {
    /// Maps that are compared: index on the left, index on the right.
    pub compared: Vec<(usize, usize)>,
    /// Maps that are not, with the reason.
    pub not_compared: Vec<(String, &'static str)>,
    /// Index on the left of each map on the right; maps that only the right has come behind those
    /// of the left. `None` if both sides number their maps alike.
    left_index: Option<Vec<u32>>,
}

impl MapPairs {
    /// Matches maps by name; those of the same module by their place.
    pub fn new(left: &Arc<Module>, right: &Arc<Module>) -> Self {
        if Arc::ptr_eq(left, right) {
            return Self {
                compared: (0..left.maps.len()).map(|index| (index, index)).collect(),
                not_compared: Vec::new(),
                left_index: None,
            };
        }
        let mut pairs = Self {
            compared: Vec::new(),
            not_compared: Vec::new(),
            left_index: None,
        };
        let mut left_index = vec![0; right.maps.len()];
        for (index, spec) in right.maps.iter().enumerate() {
            let found = left.map_index(&spec.name);
            left_index[index] = found.unwrap_or(left.maps.len() + index) as u32;
            match found.map(|found| {
                (
                    found,
                    incomparable((left, &left.maps[found]), (right, spec)),
                )
            }) {
                Some((found, None)) => pairs.compared.push((found, index)),
                Some((_, Some(reason))) => pairs.not_compared.push((spec.name.clone(), reason)),
                None => pairs
                    .not_compared
                    .push((spec.name.clone(), "only in the second program")),
            }
        }
        for spec in &left.maps {
            if right.map_index(&spec.name).is_none() {
                pairs
                    .not_compared
                    .push((spec.name.clone(), "only in the first program"));
            }
        }
        let alike = left_index
            .iter()
            .zip(0..)
            .all(|(left, right)| *left == right);
        pairs.left_index = (!alike).then_some(left_index);
        pairs.compared.sort_unstable();
        pairs
    }

    /// A result of the right side as it would be with the left side's numbers of maps; `None` if
    /// it is the same.
    pub fn renumber(&self, right: &PacketView<'_>) -> Option<(Outcome, Vec<Event>)> {
        let left_index = self.left_index.as_ref()?;
        let renumbered = |map: u32| left_index.get(map as usize).copied().unwrap_or(map);
        let mut outcome = right.outcome.clone();
        if let Some(redirect) = &mut outcome.redirect {
            redirect.map = redirect.map.map(renumbered);
        }
        let event = |event: &Event| Event {
            map: renumbered(event.map),
            ..event.clone()
        };
        Some((outcome, right.events.iter().map(event).collect()))
    }
}

/// Why the contents of two maps of the same name cannot be compared, if they cannot.
fn incomparable(
    (left_module, left): (&Module, &MapSpec),
    (right_module, right): (&Module, &MapSpec),
) -> Option<&'static str> {
    let names = |module: &Module| -> Vec<String> {
        module
            .programs
            .iter()
            .map(|program| program.name.clone())
            .collect()
    };
    let layout = |spec: &MapSpec| (spec.key_size, spec.value_size, spec.map_type.is_per_cpu());
    if left.data_section && left.frozen && left.initial != right.initial {
        Some("read-only data of the programs, which differ in it")
    } else if layout(left) != layout(right) {
        Some("declared with another key, value or type")
    } else if left.map_type == MapType::ProgArray && names(left_module) != names(right_module) {
        Some("holds programs, which are numbered differently")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iom_core::abi::Frame;
    use iom_core::isa::assemble;

    fn module(maps: &[&str]) -> Arc<Module> {
        let maps = maps.iter().map(|map| format!(".map {map}\n"));
        let text = maps.collect::<String>() + ".program main xdp\nr0 = 2\nexit\n";
        Arc::new(assemble(&text, "test").unwrap())
    }

    #[test]
    fn maps_are_matched_by_name_and_layout() {
        let array = |name: &str, value: u32| format!("{name} array key 4 value {value} max 1");
        let left = module(&[&array("a", 8), &array("b", 8), &array("c", 8)]);
        let right = module(&[&array("d", 8), &array("c", 4), &array("b", 8)]);
        let pairs = MapPairs::new(&left, &right);
        assert_eq!(pairs.compared, [(1, 2)]);
        let names: Vec<&str> = pairs
            .not_compared
            .iter()
            .map(|(name, _)| &name[..])
            .collect();
        assert_eq!(names, ["d", "c", "a"]);
        assert_eq!(
            MapPairs::new(&left, &left).compared,
            [(0, 0), (1, 1), (2, 2)]
        );
    }

    #[test]
    fn events_get_the_left_number_of_their_map() {
        let ring = |name: &str| format!("{name} ringbuf key 0 value 0 max 4096");
        let (left, right) = (module(&[&ring("a")]), module(&[&ring("new"), &ring("a")]));
        let events = [0, 1].map(|map| Event {
            packet_id: 0,
            map,
            bytes: vec![],
        });
        let (outcome, frame) = (Outcome::default(), Frame::new());
        let view = PacketView {
            outcome: &outcome,
            frame: &frame,
            events: &events,
            exact_retval: true,
        };
        let (_, events) = MapPairs::new(&left, &right).renumber(&view).unwrap();
        assert_eq!([events[0].map, events[1].map], [1, 0]);
        assert!(
            MapPairs::new(&left, &module(&[&ring("a")]))
                .renumber(&view)
                .is_none()
        );
    }
}
