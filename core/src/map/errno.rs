//! Errors as Linux gives them to programs and to user space: a number, negative in registers.

use std::fmt;

/// A Linux error number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(
                #[doc = $text]
                pub const $name: Self = Self($number);
            )*

            /// Name, such as `ENOENT`.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// What it means, in a few words.
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

// `include/uapi/asm-generic/errno*.h`; ENOTSUPP is the kernel's own (`include/linux/errno.h`).
errnos! {
    EPERM = 1, "not permitted";
    ENOENT = 2, "no such entry";
    E2BIG = 7, "too big, or the map is full";
    EBADF = 9, "bad file descriptor";
    EAGAIN = 11, "try again";
    ENOMEM = 12, "out of memory";
    EACCES = 13, "access denied";
    EFAULT = 14, "bad address";
    EBUSY = 16, "busy";
    EEXIST = 17, "the entry exists already";
    ENODEV = 19, "no such device";
    EINVAL = 22, "invalid argument";
    ENOSPC = 28, "no space left";
    EDOM = 33, "argument out of domain";
    ERANGE = 34, "out of range";
    ENAMETOOLONG = 36, "name too long";
    ENODATA = 61, "no data available";
    EOVERFLOW = 75, "value too large";
    EMSGSIZE = 90, "message too long";
    EPROTONOSUPPORT = 93, "protocol not supported";
    EOPNOTSUPP = 95, "operation not supported";
    EAFNOSUPPORT = 97, "address family not supported";
    ENOTSUPP = 524, "operation is not supported";
}

impl Errno {
    /// The error with this positive number.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// The positive number.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// As a helper returns it in r0: negative, sign-extended to 64 bits.
    pub const fn to_register(self) -> u64 {
        (-(self.0 as i64)) as u64
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "-{name} ({})", self.text()),
            None => write!(f, "-{}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_hold_the_negative_number() {
        assert_eq!(Errno::ENOENT.to_register(), 0xffff_ffff_ffff_fffe);
        assert_eq!(
            Errno::ENOTSUPP.to_string(),
            "-ENOTSUPP (operation is not supported)"
        );
        assert_eq!(format!("{:?}", Errno::new(1234)), "Errno(1234)");
    }
}
