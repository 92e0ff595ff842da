//! `item.encoding`: the name of an encoding, and what to say to a name of none.

use logdrive_core::frame::{Charset, NoCharset};

use crate::config::problem::hint;

/// The usual names; the Encoding Standard has some two hundred more.
const NAMES: &str = "utf-8 utf-16 utf-16le utf-16be gbk gb2312 gb18030 big5 shift_jis euc-jp euc-kr \
    iso-8859-1 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8 iso-8859-9 iso-8859-10 \
    iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16 windows-874 windows-1250 windows-1251 windows-1252 windows-1253 \
    windows-1254 windows-1255 windows-1256 windows-1257 windows-1258 koi8-r koi8-u ibm866 macintosh ascii latin1";

/// The encoding of this name.
pub(super) fn named(label: &str) -> Result<Charset, String> {
    Charset::named(label).map_err(|why| match why {
        NoCharset::Unknown => format!(
            "{label:?} is no name of an encoding{}; names are those of the Encoding Standard, like \"utf-16\", \
             \"gbk\" or \"windows-1252\"",
            hint(label, NAMES.split_ascii_whitespace())
        ),
        NoCharset::Stateful => format!(
            "files in {label:?} cannot be read: what a byte means there depends on those before it, and after a \
             restart a file is read on from its middle; have them written as \"utf-8\""
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_name_is_one() {
        for name in NAMES.split_ascii_whitespace() {
            assert!(named(name).is_ok() && named(&name.to_uppercase()).is_ok(), "{name}");
        }
    }
}
