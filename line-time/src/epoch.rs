//! Numbers that are times: seconds, milliseconds, microseconds or nanoseconds since the epoch.
//!
//! The unit is told by the size, as all who write no unit hope: what has ten digits before the point is seconds, what
//! has thirteen milliseconds, and so on. That covers the years from 2001 to 2286, of which [`YEAR_2100`] is the end
//! here: greater numbers are numbers.

use crate::cursor::Cursor;
use crate::moment::Moment;

/// The first second of the year 2100.
const YEAR_2100: i64 = 4_102_444_800;
/// Digits that are kept: a mantissa of them fits into 128 bits with room for nanoseconds.
const DIGITS_MAX: usize = 25;

/// `1795687872`, `1795687872.345`, `1795687872345`, `1.795687872345e+09`.
pub(crate) fn epoch(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    let whole = next.take_while(|byte| byte.is_ascii_digit());
    let mut fraction = &[][..];
    let mut behind = next;
    if behind.take(b'.').is_some() {
        fraction = behind.take_while(|byte| byte.is_ascii_digit());
        if !fraction.is_empty() {
            next = behind;
        }
    }
    let exponent = exponent(&mut next).unwrap_or(0);
    if whole.first().is_none_or(|&digit| digit == b'0') || !next.is_at_end_of_word() {
        return None;
    }
    // Which power of ten turns the number, read as an integer of all its digits, into nanoseconds.
    let before_point = whole.len().checked_add(exponent)?;
    let unit: i32 = match before_point {
        10 => 9,
        13 => 6,
        16 => 3,
        19 => 0,
        _ => return None,
    };
    let digits = whole.iter().chain(fraction).take(DIGITS_MAX);
    let (mantissa, count) = digits.fold((0i128, 0usize), |(mantissa, count), digit| {
        (mantissa * 10 + i128::from(digit - b'0'), count + 1)
    });
    let shift = unit + i32::try_from(before_point).ok()? - i32::try_from(count).ok()?;
    let power = 10i128.checked_pow(shift.unsigned_abs())?;
    let ns = if shift < 0 { mantissa / power } else { mantissa.checked_mul(power)? };
    let ns = i64::try_from(ns).ok().filter(|ns| ns / 1_000_000_000 < YEAR_2100)?;
    *at = next;
    Some(Moment::Unix(ns))
}

/// `e9`, `e+09`.
fn exponent(at: &mut Cursor<'_>) -> Option<usize> {
    let mut next = *at;
    next.take_any(b"eE")?;
    let _sign = next.take(b'+');
    let _zero = next.take(b'0');
    let digits = next.take_while(|byte| byte.is_ascii_digit());
    let number = Cursor::at(digits).digits(digits.len()).filter(|_| (1..=2).contains(&digits.len()))?;
    *at = next;
    Some(number.into())
}
