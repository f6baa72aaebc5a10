//! What several native runs of a program have in common.
//!
//! Nothing is guessed: a process id, an address, a time, a temporary name is whatever varies
//! between runs on the kernel. A word that varies may be any word in that place of its line; a
//! line that has nothing in common may be any line.

/// A word, a run of blanks, or any other byte.
fn tokens(line: &[u8]) -> Vec<&[u8]> {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80;
    let is_blank = |b: &u8| *b == b' ' || *b == b'\t';
    let mut rest = line;
    let mut tokens = Vec::new();
    while let Some(first) = rest.first() {
        let same =
            |class: &dyn Fn(&u8) -> bool| rest.iter().position(|b| !class(b)).unwrap_or(rest.len());
        let len = match first {
            b if is_word(b) => same(&is_word),
            b if is_blank(b) => same(&is_blank),
            _ => 1,
        };
        let (token, after) = rest.split_at(len);
        tokens.push(token);
        rest = after;
    }
    tokens
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Word,
    Blank,
    Other,
}

fn class(token: &[u8]) -> Class {
    match token.first() {
        Some(b' ' | b'\t') => Class::Blank,
        Some(b) if b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80 => Class::Word,
        _ => Class::Other,
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Is(Vec<u8>),
    Any(Class),
}

/// What a line may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    Is(Vec<u8>),
    Like(Pieces),
    Any,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pieces(Vec<Piece>);

impl Line {
    /// What all these lines have in common.
    pub fn of(lines: &[&[u8]]) -> Line {
        let Some((first, others)) = lines.split_first() else {
            return Line::Any;
        };
        if others.iter().all(|other| other == first) {
            return Line::Is(first.to_vec());
        }
        let mut pieces: Vec<Piece> = tokens(first)
            .into_iter()
            .map(|t| Piece::Is(t.to_vec()))
            .collect();
        for other in others {
            let other = tokens(other);
            if other.len() != pieces.len() {
                return Line::Any;
            }
            for (piece, token) in pieces.iter_mut().zip(other) {
                match piece {
                    Piece::Is(known) if known == token => {}
                    Piece::Is(known)
                        if class(known) == class(token) && class(token) != Class::Other =>
                    {
                        *piece = Piece::Any(class(token));
                    }
                    Piece::Any(known) if *known == class(token) => {}
                    _ => return Line::Any,
                }
            }
        }
        Line::Like(Pieces(pieces))
    }

    pub fn admits(&self, line: &[u8]) -> bool {
        match self {
            Line::Any => true,
            Line::Is(known) => known == line,
            Line::Like(Pieces(pieces)) => {
                let tokens = tokens(line);
                tokens.len() == pieces.len()
                    && pieces.iter().zip(tokens).all(|(piece, token)| match piece {
                        Piece::Is(known) => known == token,
                        Piece::Any(known) => *known == class(token),
                    })
            }
        }
    }

    pub fn varies(&self) -> bool {
        !matches!(self, Line::Is(_))
    }
}

/// A line with each word that has a digit in it masked: for lines whose place is not known.
pub fn masked(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for token in tokens(line) {
        match class(token) {
            Class::Word if token.iter().any(u8::is_ascii_digit) => out.push(b'#'),
            Class::Blank => out.push(b' '),
            _ => out.extend_from_slice(token),
        }
    }
    out
}

/// The lines, each with its newline.
pub fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_learnt_word_by_word() {
        let line = Line::of(&[b"pid 17 at 0x7ffd1c, ok\n", b"pid 2301 at 0x7ffd2a, ok\n"]);
        assert!(line.varies());
        assert!(line.admits(b"pid 9 at 0x1, ok\n"));
        assert!(!line.admits(b"pid 9 at 0x1, no\n"));
        assert!(!line.admits(b"pid 9 at 0x1, ok"), "the newline is missing");
    }

    #[test]
    fn what_never_varies_has_to_be_the_same() {
        let line = Line::of(&[b"3 lines\n", b"3 lines\n"]);
        assert!(line.admits(b"3 lines\n"));
        assert!(!line.admits(b"4 lines\n"));
    }

    #[test]
    fn lines_of_another_shape_have_nothing_in_common() {
        assert_eq!(Line::of(&[b"a b", b"a"]), Line::Any);
        assert_eq!(Line::of(&[b"a-b", b"a+b"]), Line::Any);
    }

    #[test]
    fn columns_may_be_wider() {
        let line = Line::of(&[b"    7 sh\n", b"   17 sh\n", b" 1117 sh\n"]);
        assert!(line.admits(b"12345 sh\n") || line.admits(b"  345 sh\n"));
        assert_eq!(masked(b"  345 sh\n"), b" # sh\n");
    }
}
