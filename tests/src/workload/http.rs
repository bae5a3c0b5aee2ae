//! As much of HTTP/1.1 as a file server and its client need: heads, bodies by length, bodies in chunks.

use std::io::{self, BufRead, Error, ErrorKind};

/// The longest line taken, so that a peer gone wrong cannot fill the memory.
const LINE_MAX: u64 = 16 * 1024;

/// The first line and the header fields of a request or a response.
pub struct Head {
    /// The first line, without its line end.
    pub first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head up to and with its empty line; `None` where the peer closed instead of sending one.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first) = line(from)? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        loop {
            let text = line(from)?.ok_or(ErrorKind::UnexpectedEof)?;
            if text.is_empty() {
                return Ok(Some(Self { first, fields }));
            }
            let (name, value) = text
                .split_once(':')
                .ok_or_else(|| malformed("a header field without a colon"))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The value of a header field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// The path that a request asks for.
    pub fn path(&self) -> Option<&str> {
        self.first.strip_prefix("GET ")?.split(' ').next()
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.first.split(' ').nth(1)?.parse().ok()
    }
}

/// Reads the body that belongs to `head` and throws it away. Returns its length in bytes, without the framing of chunks.
pub fn skip_body(head: &Head, from: &mut impl BufRead) -> io::Result<u64> {
    if head
        .field("transfer-encoding")
        .is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked"))
    {
        return skip_chunks(from);
    }
    let length = head
        .field("content-length")
        .and_then(|text| text.parse().ok());
    let length = length.ok_or_else(|| malformed("a response without a length"))?;
    skip(from, length)?;
    Ok(length)
}

fn skip_chunks(from: &mut impl BufRead) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let text = line(from)?.ok_or(ErrorKind::UnexpectedEof)?;
        let size = text.split(';').next().unwrap_or_default().trim();
        let size =
            u64::from_str_radix(size, 16).map_err(|_| malformed("a chunk without a size"))?;
        skip(from, size)?;
        // The line end after the chunk; after the last chunk it ends the (empty) trailer.
        line(from)?;
        if size == 0 {
            return Ok(total);
        }
        total += size;
    }
}

fn skip(from: &mut impl BufRead, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let have = from.fill_buf()?.len();
        if have == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let take = usize::try_from(length).unwrap_or(usize::MAX).min(have);
        from.consume(take);
        length -= take as u64;
    }
    Ok(())
}

/// A line without its end; `None` at the end of the stream.
fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    if io::Read::take(&mut *from, LINE_MAX).read_line(&mut text)? == 0 {
        return Ok(None);
    }
    if text.pop() != Some('\n') {
        return Err(malformed("a line that never ends"));
    }
    Ok(Some(text.trim_end_matches('\r').to_owned()))
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(mut response: &[u8]) -> io::Result<u64> {
        let head = Head::read(&mut response)?.expect("a head");
        let length = skip_body(&head, &mut response)?;
        assert!(response.is_empty(), "left over: {response:?}");
        Ok(length)
    }

    #[test]
    fn a_body_with_a_length_is_read_to_its_end() {
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap(),
            5
        );
    }

    #[test]
    fn a_body_in_chunks_is_read_to_its_end() {
        let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(body(response).unwrap(), 13);
    }

    #[test]
    fn a_body_cut_short_is_an_error() {
        let error = body(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_closed_connection_has_no_head() {
        assert!(Head::read(&mut &b""[..]).unwrap().is_none());
    }

    #[test]
    fn a_request_names_its_path() {
        let head = Head::read(&mut &b"GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n"[..])
            .unwrap()
            .unwrap();
        assert_eq!(head.path(), Some("/a/b"));
        assert_eq!(head.field("host"), Some("x"));
    }
}
