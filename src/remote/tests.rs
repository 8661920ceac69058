//! Objects over HTTP from servers that break off, change their minds, and fail.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

/// Answers `count` requests, each on a connection of its own, and gives their heads.
fn server(
    count: usize,
    mut answer: impl FnMut(usize, &str) -> Vec<u8> + Send + 'static,
) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serve = move || {
        let mut heads = Vec::new();
        for number in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            let head = head(&mut stream);
            // Who has enough may have gone.
            let _ = stream.write_all(&answer(number, &head));
            heads.push(head);
        }
        heads
    };
    (address, std::thread::spawn(serve))
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn content() -> Vec<u8> {
    (0..300_000u32).map(|n| (n % 251) as u8).collect()
}

/// From where a request wants it.
fn wanted(head: &str) -> usize {
    let Some((_, range)) = head.split_once("range: bytes=") else { return 0 };
    range.split('-').next().unwrap().parse().unwrap()
}

/// What a request wants of the content, of which `most` bytes come.
fn part(head: &str, etag: &str, most: usize) -> Vec<u8> {
    let (all, from) = (content(), wanted(head));
    let (status, range) = match from {
        0 => ("200 OK", String::new()),
        from => (
            "206 Partial",
            format!("content-range: bytes {from}-{}/{}\r\n", all.len() - 1, all.len()),
        ),
    };
    let length = all.len() - from;
    let head = format!(
        "HTTP/1.1 {status}\r\n{etag}{range}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), &all[from..all.len().min(from + most)]].concat()
}

fn object(address: &str) -> Result<Object, RemoteError> {
    let location = Location::parse(&format!("{address}/a/rows.csv?signature=secret"));
    Stores::new(Settings::default()).object(&location.unwrap().unwrap())
}

fn read(object: &Object) -> Result<Vec<u8>, RemoteError> {
    let mut all = Vec::new();
    match object.open().read_to_end(&mut all) {
        Ok(_) => Ok(all),
        Err(error) => Err(error.get_ref().unwrap().downcast_ref::<RemoteError>().unwrap().clone()),
    }
}

#[test]
fn what_breaks_off_goes_on_at_that_byte_of_that_version() {
    let (address, asked) = server(4, |number, head| {
        part(head, "etag: \"v1\"\r\n", [300_000, 100_000, 70_000, 300_000][number])
    });
    let object = object(&address).unwrap();
    assert_eq!(object.bytes(), 300_000);
    assert_eq!(read(&object).unwrap(), content());
    let asked = asked.join().unwrap();
    assert_eq!(asked.iter().map(|head| wanted(head)).collect::<Vec<_>>(), [0, 0, 100_000, 170_000]);
    assert!(asked[1..].iter().all(|head| head.contains("if-match: \"v1\"\r\n")), "{asked:?}");
}

#[test]
fn what_has_changed_is_an_error_even_if_its_server_looks_at_no_condition() {
    let (address, _asked) = server(3, |number, head| match number {
        0 => part(head, "etag: \"v1\"\r\n", 300_000),
        _ => part(head, "etag: \"v2\"\r\n", 300_000),
    });
    let error = read(&object(&address).unwrap()).unwrap_err();
    assert_eq!(error.kind, Why::Changed, "{error}");
    let (address, _asked) = server(2, |number, head| match number {
        0 => part(head, "etag: \"v1\"\r\n", 300_000),
        _ => b"HTTP/1.1 412 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
    });
    let error = read(&object(&address).unwrap()).unwrap_err();
    assert_eq!(error.kind, Why::Changed, "{error}");
    // Without a version nothing says that what follows belongs to what came.
    let (address, _asked) =
        server(2, |number, head| part(head, "", if number == 0 { 300_000 } else { 1_000 }));
    let error = read(&object(&address).unwrap()).unwrap_err();
    assert!(error.why.contains("cannot be resumed"), "{error}");
}

/// Other bytes of the same length and second have the same weak ETag, and the same date.
#[test]
fn what_breaks_off_goes_on_under_a_strong_etag_alone() {
    const DATE: &str = "last-modified: Fri, 27 Nov 2026 00:00:00 GMT\r\n";
    for (known_by, why) in [
        (format!("etag: W/\"v1\"\r\n{DATE}"), "a weak ETag"),
        ("etag: W/\"v1\"\r\n".to_owned(), "a weak ETag"),
        (DATE.to_owned(), "gives it no ETag"),
    ] {
        let headers = known_by.clone();
        let (address, asked) = server(2, move |number, head| {
            part(head, &headers, if number == 0 { 300_000 } else { 100_000 })
        });
        let object = object(&address).unwrap();
        let mut reader = object.open();
        let mut all = Vec::new();
        let error = reader.read_to_end(&mut all).unwrap_err();
        let error = error.get_ref().unwrap().downcast_ref::<RemoteError>().unwrap();
        assert!(
            error.why.contains("cannot be resumed") && error.why.contains(why),
            "{known_by}: {error}"
        );
        assert!(content().starts_with(&all), "{known_by}");
        let from: Vec<usize> = asked.join().unwrap().iter().map(|head| wanted(head)).collect();
        assert_eq!(from, [0, 0], "{known_by}");
        // Where nothing came yet there is nothing to go on from: it begins again.
        let headers = known_by.clone();
        let (address, asked) = server(3, move |number, head| {
            part(head, &headers, if number == 1 { 0 } else { 300_000 })
        });
        assert_eq!(read(&self::object(&address).unwrap()).unwrap(), content(), "{known_by}");
        asked.join().unwrap();
    }
    // An answer without the tag that was asked for may be of anything, too.
    let (address, asked) = server(3, |number, head| match number {
        0 => part(head, &format!("etag: \"v1\"\r\n{DATE}"), 300_000),
        _ => part(head, DATE, 100_000),
    });
    let error = read(&object(&address).unwrap()).unwrap_err();
    assert!(error.why.contains("cannot be resumed"), "{error}");
    asked.join().unwrap();
    let (address, _asked) = server(3, |number, head| {
        let etag = format!("etag: \"v1\"\r\n{DATE}");
        part(head, &etag, [300_000, 100_000, 300_000][number])
    });
    assert_eq!(read(&object(&address).unwrap()).unwrap(), content());
}

#[test]
fn a_store_that_fails_is_asked_again_and_then_given_up() {
    let unavailable =
        || b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
    let (address, asked) = server(3, move |number, head| match number {
        0 => unavailable(),
        _ => part(head, "etag: \"v1\"\r\n", 300_000),
    });
    assert_eq!(read(&object(&address).unwrap()).unwrap(), content());
    assert_eq!(asked.join().unwrap().len(), 3);
    let (address, _asked) = server(1_000, |number, head| {
        part(head, "etag: \"v1\"\r\n", if number == 0 { 300_000 } else { 10 })
    });
    let error = read(&object(&address).unwrap()).unwrap_err();
    assert!(error.why.contains("given up"), "{error}");
}

#[test]
fn answers_that_are_none_are_told_without_the_secret_of_the_address() {
    for (answer, part) in [
        ("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", "not there"),
        ("HTTP/1.1 403 No\r\ncontent-length: 6\r\n\r\nsecret", "access is denied"),
        (
            "HTTP/1.1 302 There\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            "redirect",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "how long it is",
        ),
        ("HTTP/1.1 418 No\r\ncontent-length: 0\r\n\r\n", "answered 418"),
    ] {
        let (address, _asked) = server(1, move |_, _| answer.as_bytes().to_vec());
        let error = object(&address).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(part) && text.contains("/a/rows.csv"), "{text}");
        assert!(!format!("{text} {error:?}").contains("secret"), "{error:?}");
    }
}
