//! Refusals: the lines that Linux would print.

/// A program that is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    /// Linux's lines.
    pub(super) messages: Vec<String>,
}

/// What a check gives.
pub(super) type Check<T = ()> = Result<T, Rejection>;

/// Refuses with one line.
pub(super) fn reject<T>(message: impl Into<String>) -> Check<T> {
    Err(Rejection {
        messages: vec![message.into()],
    })
}

impl Rejection {
    /// The same with a line after it.
    pub(super) fn then(mut self, message: impl Into<String>) -> Self {
        self.messages.push(message.into());
        self
    }
}
