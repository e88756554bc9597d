//! The opcodes of Python's pickle, protocols 0 to 4 as PyTorch writes them, read from a stream without trust.

use std::io::{BufRead, Read};

use crate::error::Fault;

/// Longest string or integer literal accepted.
const MAX_TEXT: u64 = 1 << 28;
/// Longest line of a textual opcode (names of modules and classes).
const MAX_LINE: u64 = 1 << 16;

/// One instruction with its literal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    Nop,
    Stop,
    Mark,
    Pop,
    PopMark,
    Dup,
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    Global(String),
    StackGlobal,
    EmptyTuple,
    /// 1 to 3 items.
    TupleOf(usize),
    TupleFromMark,
    EmptyList,
    ListFromMark,
    Append,
    Appends,
    EmptyDict,
    DictFromMark,
    SetItem,
    SetItems,
    EmptySet,
    AddItems,
    FrozenSet,
    Get(u32),
    Put(u32),
    Memoize,
    PersistentId,
    Reduce,
    NewObject,
    Build,
}

/// Reads one instruction.
pub(super) fn next(input: &mut dyn BufRead) -> Result<Op, Fault> {
    let code = byte(input)?;
    Ok(match code {
        0x80 => {
            let protocol = byte(input)?;
            if protocol > 5 {
                return Fault::bad(format!("pickle protocol {protocol}; accepted are 0 to 5"));
            }
            Op::Nop
        }
        0x95 => {
            long(input)?;
            Op::Nop
        }
        b'.' => Op::Stop,
        b'(' => Op::Mark,
        b'0' => Op::Pop,
        b'1' => Op::PopMark,
        b'2' => Op::Dup,
        b'N' => Op::None,
        0x88 => Op::Bool(true),
        0x89 => Op::Bool(false),
        b'c' => {
            let (module, name) = (line(input)?, line(input)?);
            Op::Global(format!("{module}.{name}"))
        }
        0x93 => Op::StackGlobal,
        b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b => return integer(code, input),
        b'F' => Op::Float(line(input)?.trim().parse().map_err(|_| Fault::Bad("a float that is not one".into()))?),
        b'G' => Op::Float(f64::from_be_bytes(array(input)?)),
        b'V' | b'X' | 0x8c | 0x8d | b'T' | b'U' | b'S' | b'B' | b'C' | 0x8e | 0x96 => return text(code, input),
        b'q' | b'r' | b'p' | b'h' | b'j' | b'g' | 0x94 => return memo(code, input),
        _ => return structure(code),
    })
}

/// Opcodes without a literal that build containers and objects.
fn structure(code: u8) -> Result<Op, Fault> {
    Ok(match code {
        b')' => Op::EmptyTuple,
        0x85 => Op::TupleOf(1),
        0x86 => Op::TupleOf(2),
        0x87 => Op::TupleOf(3),
        b't' => Op::TupleFromMark,
        b']' => Op::EmptyList,
        b'l' => Op::ListFromMark,
        b'a' => Op::Append,
        b'e' => Op::Appends,
        b'}' => Op::EmptyDict,
        b'd' => Op::DictFromMark,
        b's' => Op::SetItem,
        b'u' => Op::SetItems,
        0x8f => Op::EmptySet,
        0x90 => Op::AddItems,
        0x91 => Op::FrozenSet,
        b'Q' => Op::PersistentId,
        b'R' => Op::Reduce,
        0x81 => Op::NewObject,
        b'b' => Op::Build,
        other => return Fault::bad(format!("pickle opcode 0x{other:02x}, which no tensor file needs")),
    })
}

fn integer(code: u8, input: &mut dyn BufRead) -> Result<Op, Fault> {
    Ok(match code {
        b'J' => Op::Int(i64::from(i32::from_le_bytes(array(input)?))),
        b'K' => Op::Int(i64::from(byte(input)?)),
        b'M' => Op::Int(i64::from(u16::from_le_bytes(array(input)?))),
        0x8a | 0x8b => {
            let len = if code == 0x8a { u64::from(byte(input)?) } else { u64::from(int(input)?) };
            big_integer(&bytes(input, len)?)?
        }
        _ => {
            let text = line(input)?;
            match (code, text.as_str()) {
                (b'I', "01") => Op::Bool(true),
                (b'I', "00") => Op::Bool(false),
                (_, digits) => {
                    let digits = digits.strip_suffix('L').unwrap_or(digits).trim();
                    Op::Int(digits.parse().map_err(|_| Fault::Bad("an integer that does not fit 64 bits".into()))?)
                }
            }
        }
    })
}

/// Little-endian two's complement of any length. The magic number of the legacy container does not fit 64 bits; it becomes
/// its bytes.
fn big_integer(bytes: &[u8]) -> Result<Op, Fault> {
    if bytes.len() > 8 {
        return Ok(Op::Bytes(bytes.to_vec()));
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut word = [if negative { 0xff } else { 0 }; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    Ok(Op::Int(i64::from_le_bytes(word)))
}

fn text(code: u8, input: &mut dyn BufRead) -> Result<Op, Fault> {
    let len = match code {
        b'V' | b'S' => return quoted(code, &line(input)?),
        b'U' | 0x8c | b'C' => u64::from(byte(input)?),
        b'X' | b'T' | b'B' => u64::from(int(input)?),
        _ => long(input)?,
    };
    let raw = bytes(input, len)?;
    if matches!(code, b'C' | b'B' | 0x8e | 0x96) {
        return Ok(Op::Bytes(raw));
    }
    // Python 2 strings (T, U) hold bytes; PyTorch reads them as UTF-8 too.
    String::from_utf8(raw).map(Op::Str).map_err(|_| Fault::Bad("a string that is not UTF-8".into()))
}

/// Protocol 0 strings; escapes other than the quotes do not occur in names.
fn quoted(code: u8, text: &str) -> Result<Op, Fault> {
    if text.contains('\\') {
        return Fault::bad("a protocol 0 string with escapes, which is not read");
    }
    if code == b'V' {
        return Ok(Op::Str(text.into()));
    }
    let inner = ['\'', '"'].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q));
    inner.map(|s| Op::Str(s.into())).ok_or_else(|| Fault::Bad("a string without quotes".into()))
}

fn memo(code: u8, input: &mut dyn BufRead) -> Result<Op, Fault> {
    let place = match code {
        0x94 => return Ok(Op::Memoize),
        b'q' | b'h' => u32::from(byte(input)?),
        b'r' | b'j' => int(input)?,
        _ => line(input)?.parse().map_err(|_| Fault::Bad("a memo place that is not a number".into()))?,
    };
    Ok(if matches!(code, b'q' | b'r' | b'p') { Op::Put(place) } else { Op::Get(place) })
}

fn array<const N: usize>(input: &mut dyn BufRead) -> Result<[u8; N], Fault> {
    let mut buffer = [0; N];
    input.read_exact(&mut buffer)?;
    Ok(buffer)
}

fn byte(input: &mut dyn BufRead) -> Result<u8, Fault> {
    Ok(array::<1>(input)?[0])
}

fn int(input: &mut dyn BufRead) -> Result<u32, Fault> {
    Ok(u32::from_le_bytes(array(input)?))
}

fn long(input: &mut dyn BufRead) -> Result<u64, Fault> {
    Ok(u64::from_le_bytes(array(input)?))
}

/// Reads `len` bytes; memory grows only as they arrive, whatever the file claims.
fn bytes(input: &mut dyn BufRead, len: u64) -> Result<Vec<u8>, Fault> {
    if len > MAX_TEXT {
        return Fault::bad(format!("a literal of {len} bytes; at most {MAX_TEXT} are accepted"));
    }
    let mut out = Vec::new();
    input.take(len).read_to_end(&mut out)?;
    if (out.len() as u64) < len {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(out)
}

fn line(input: &mut dyn BufRead) -> Result<String, Fault> {
    let mut out = Vec::new();
    input.take(MAX_LINE).read_until(b'\n', &mut out)?;
    if out.pop() != Some(b'\n') {
        return Fault::bad("the file is truncated (a line does not end)");
    }
    String::from_utf8(out).map_err(|_| Fault::Bad("a line that is not UTF-8".into()))
}
