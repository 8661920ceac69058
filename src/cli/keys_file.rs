//! Keys that stand in a file: one on each line.

use std::path::Path;
use std::{fs, io};

use tidetable_storage::Key;

use super::exit::Failure;
use crate::keys::KeyEncoding;

/// The keys in a file, or in standard input (`-`), as they are written there. Empty lines are none.
pub(super) fn read(file: &Path, encoding: KeyEncoding) -> Result<Vec<String>, Failure> {
    let (name, text) = match file.to_str() {
        Some("-") => ("standard input".to_owned(), io::read_to_string(io::stdin().lock())),
        _ => (file.display().to_string(), fs::read_to_string(file)),
    };
    let text = text.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::usage(format!("{name} is no text in UTF-8"))
            .hint("keys that are any bytes are written in base64url or hex: --key-encoding"),
        _ => Failure::io("read the keys in", &name, &error),
    })?;
    // Editors of Windows begin a file with this mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    let keys = lines.map(|(number, line)| match encoding {
        KeyEncoding::Utf8 => match Key::new(line.as_bytes()) {
            Ok(_) => Ok(line.to_owned()),
            Err(error) => Err(Failure::usage(format!("line {} of {name}: {error}", number + 1))),
        },
        _ => Ok(line.to_owned()),
    });
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(Failure::usage(format!("{name} has no keys: one is expected on each line")));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;

    #[test]
    fn lines_are_keys_and_what_is_none_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let read_as = |bytes: &[u8], encoding| {
            fs::write(&file, bytes).unwrap();
            read(&file, encoding)
        };
        let utf8 = |bytes: &[u8]| read_as(bytes, KeyEncoding::Utf8);
        assert_eq!(utf8(b"\xef\xbb\xbfb c\r\n\n-x\n\n").unwrap(), ["b c", "-x"]);
        let long = [b"a\n\n".to_vec(), vec![b'x'; 70_000]].concat();
        for (bytes, says) in
            [(&b""[..], "no keys"), (b"\n\n", "no keys"), (&long, "line 3 of"), (b"\xff", "UTF-8")]
        {
            let failure = utf8(bytes).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
        assert_eq!(read_as(&long, KeyEncoding::Hex).unwrap().len(), 2, "the server decodes it");
        assert_eq!(
            read(&dir.path().join("none"), KeyEncoding::Utf8).unwrap_err().exit,
            Exit::NotFound
        );
    }
}
