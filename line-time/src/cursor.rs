//! A place in a line from which something is read. It is copied to look ahead, and the copy thrown away when what
//! was looked for is not there.

#[derive(Copy, Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn at(rest: &'a [u8]) -> Cursor<'a> {
        Cursor { rest }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Takes this byte, if it is the next one.
    pub(crate) fn take(&mut self, byte: u8) -> Option<()> {
        self.take_any(&[byte]).map(drop)
    }

    /// Takes the next byte, if it is one of these.
    pub(crate) fn take_any(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| bytes.contains(byte))?;
        self.skip(1);
        Some(byte)
    }

    /// Takes this text, if it comes next.
    pub(crate) fn take_text(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Takes bytes as long as they are of this kind.
    pub(crate) fn take_while(&mut self, mut is: impl FnMut(u8) -> bool) -> &'a [u8] {
        let count = self.rest.iter().position(|&byte| !is(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }

    /// Takes a number of so many digits; more may follow.
    pub(crate) fn digits(&mut self, count: usize) -> Option<u16> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        let number = taken.iter().try_fold(0u16, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })?;
        self.rest = rest;
        Some(number)
    }

    /// What comes next is no part of a word or number.
    pub(crate) fn is_at_end_of_word(&self) -> bool {
        self.peek().is_none_or(|byte| !byte.is_ascii_alphanumeric())
    }

    /// Takes colours and other styles, as they are written to a terminal: `ESC [ ... m`.
    pub(crate) fn skip_styles(&mut self) {
        while let Some(styled) = self.rest.strip_prefix(b"\x1b[") {
            let codes = styled.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
            if styled.get(codes) != Some(&b'm') {
                return;
            }
            self.rest = &styled[codes + 1..];
        }
    }
}
