//! Paths in keys, by their components.
//!
//! `a//b` and `a/b` are equal paths, so they are written alike. A path need not be UTF-8: a byte that
//! belongs to no character is written as `%XX`, as a control character is. Since a `%` of the path
//! is escaped too, the bytes can be read back, so no two paths have one text.

use std::path::{Component, MAIN_SEPARATOR_STR, Path, PathBuf};

use super::part::{KeyPart, KeyWriter, Written};

/// The components, with separators between them: what a path without superfluous separators is.
fn pieces(path: &Path) -> impl Iterator<Item = &[u8]> {
    let mut separator = "";
    path.components().flat_map(move |component| {
        let before = separator;
        separator = match component {
            Component::Prefix(_) | Component::RootDir => "",
            _ => MAIN_SEPARATOR_STR,
        };
        [before.as_bytes(), component.as_os_str().as_encoded_bytes()]
    })
}

#[diagnostic::do_not_recommend]
impl KeyPart for Path {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.pieces(pieces(self))
    }
}

#[diagnostic::do_not_recommend]
impl KeyPart for PathBuf {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        self.as_path().write(out)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::key::text_of::{check_pair, text};

    fn path(bytes: &[u8]) -> &Path {
        Path::new(OsStr::from_bytes(bytes))
    }

    #[test]
    fn a_path_is_text() {
        for (path, expected) in [
            ("/srv/größe.txt", "'/srv/größe.txt'"),
            ("it's/100%", "'it%27s/100%25'"),
            ("", "''"),
            ("/", "'/'"),
            (".", "'.'"),
            ("../a", "'../a'"),
        ] {
            assert_eq!(text(Path::new(path)), expected);
        }
        let buffer = PathBuf::from("/srv");
        assert_eq!(text(&buffer), "'/srv'");
        assert_eq!(text(&Arc::<Path>::from(buffer)), "'/srv'");
        let long = "a/".repeat(100);
        assert_eq!(text(Path::new(&long)), format!("'{}'", &long[..199]));
    }

    #[test]
    fn equal_paths_are_one_value() {
        for spelled in ["a/b", "a//b", "a/b/", "a/./b/."] {
            assert_eq!(text(Path::new(spelled)), "'a/b'");
        }
        assert_ne!(text(Path::new("./a")), text(Path::new("a")));
        assert_ne!(text(Path::new("/a")), text(Path::new("a")));
    }

    #[test]
    fn a_path_that_is_not_utf_8_has_its_bytes() {
        assert_eq!(text(path(b"/tmp/\xff-\xc3")), "'/tmp/%FF-%C3'");
        assert_eq!(text(path(b"/tmp/%FF-\xc3\xb6")), "'/tmp/%25FF-ö'");
        // The first is a control character, and the other is half of it.
        assert_eq!(text(path(b"\xc2\x80")), "'%C2%80'");
        assert_eq!(text(path(b"\x80")), "'%80'");
    }

    proptest! {
        #[test]
        fn paths_have_one_text_each(
            any: (Vec<u8>, Vec<u8>),
            few in proptest::array::uniform2("[a%F./'\u{80}ö]{0,6}"),
            at in 0_usize..8,
            byte: u8,
        ) {
            check_pair(path(&any.0), path(&any.1));
            check_pair(Path::new(&few[0]), Path::new(&few[1]));
            let mut other = few[0].clone().into_bytes();
            if let Some(changed) = other.get_mut(at) {
                *changed = byte;
            }
            check_pair(Path::new(&few[0]), path(&other));
            let again: PathBuf = path(&other).components().collect();
            prop_assert_eq!(text(&again), text(path(&other)));
        }
    }
}
