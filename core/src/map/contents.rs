//! What a map holds at one moment, as a value that can be compared, printed and put back.

/// Contents of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapContents {
    /// Entries sorted by key. Arrays hold every index.
    pub entries: Vec<MapEntry>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Key bytes.
    pub key: Vec<u8>,
    /// Value.
    pub value: MapValue,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapValue {
    /// One value. Of a prog array: the program's index in the module, as a little-endian u32.
    Plain(Vec<u8>),
    /// One value for each RX queue.
    PerQueue(Vec<Vec<u8>>),
}
