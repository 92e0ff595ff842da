//! The members of the JSON object that a line is. Not a parser: what is inside of values is passed over, nothing is
//! unescaped, and what is no JSON ends it.

use memchr::{memchr2, memchr3};

use crate::cursor::Cursor;

/// The members of an object, in their order, each with its name and its value. A name or value that is a string is
/// what stands between its quotes, escapes as they are.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a>(Cursor<'a>);

/// The members of a line that begins as an object.
pub(crate) fn object(line: &[u8]) -> Option<Members<'_>> {
    let mut at = Cursor::at(line);
    at.take(b'{')?;
    Some(Members(at))
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let at = &mut self.0;
        space(at);
        let name = string(at)?;
        space(at);
        at.take(b':')?;
        space(at);
        let value = match at.peek()? {
            b'"' => string(at)?,
            b'{' | b'[' => nested(at)?,
            _ => at.take_while(|byte| !matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n')),
        };
        space(at);
        // Behind the last member the next step finds no name.
        let _more = at.take(b',');
        Some((name, value))
    }
}

fn space(at: &mut Cursor<'_>) {
    at.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
}

fn string<'a>(at: &mut Cursor<'a>) -> Option<&'a [u8]> {
    at.take(b'"')?;
    let text = at.rest();
    let mut from = 0;
    loop {
        let found = from + memchr2(b'"', b'\\', &text[from..])?;
        if text[found] == b'"' {
            at.skip(found + 1);
            return Some(&text[..found]);
        }
        // The escaped byte is none that ends the string.
        from = found + 2;
        if from > text.len() {
            return None;
        }
    }
}

/// An object or an array, of which brackets of its own kind tell the end.
fn nested<'a>(at: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let text = at.rest();
    let (open, close) = if at.take(b'{').is_some() { (b'{', b'}') } else { (at.take_any(b"[")?, b']') };
    let mut depth = 1;
    while depth > 0 {
        let next = memchr3(b'"', open, close, at.rest())?;
        at.skip(next);
        if at.peek() == Some(b'"') {
            string(at)?;
            continue;
        }
        match at.take(open) {
            Some(()) => depth += 1,
            None => {
                at.skip(1);
                depth -= 1;
            }
        }
    }
    Some(&text[..text.len() - at.rest().len()])
}
