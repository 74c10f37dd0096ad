//! Tokens of OpenCL C with their lines. Where compilers disagree about how text is read, the text is refused.

/// Text whose continued lines are joined, with the line that each byte came from.
#[derive(Clone, Debug)]
pub(super) struct Spliced {
    text: String,
    lines: Vec<u32>,
}

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) line: u32,
    /// Whether it is within a preprocessor line, the `#` included.
    pub(super) directive: bool,
    /// Whether it is the first on its (joined) line.
    pub(super) first: bool,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Ident,
    /// A preprocessing number: `1`, `0x1fUL`, `1.5e-3`.
    Number,
    /// `'a'`
    Char,
    /// `"a"`
    Text,
    /// One other character; `##` is one token.
    Punct,
}

/// Text that cannot be read in one way only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LexError {
    pub(super) line: u32,
    pub(super) what: &'static str,
}

impl Spliced {
    pub(super) fn new(source: &str) -> Result<Spliced, LexError> {
        let (mut text, mut lines) = (String::with_capacity(source.len()), Vec::with_capacity(source.len()));
        let mut line = 1;
        let mut rest = source;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            let error = |what| Err(LexError { line, what });
            match c {
                '\\' if after.starts_with('\n') || after.starts_with("\r\n") => {
                    rest = after.trim_start_matches('\r').strip_prefix('\n').unwrap_or(after);
                    line += 1;
                    continue;
                }
                '\\' if after.trim_start_matches([' ', '\t', '\x0b', '\x0c']).starts_with(['\n', '\r']) => {
                    return error("a backslash with blanks before the end of the line: remove the blanks");
                }
                '\r' if !after.starts_with('\n') => return error("a carriage return that does not end a line"),
                '?' if after.starts_with("?/") => return error("the trigraph ??/"),
                '\t' | '\n' | '\r' | '\x0b' | '\x0c' => {}
                c if c.is_control() => return error("a control character"),
                _ => {}
            }
            text.push(c);
            lines.extend(std::iter::repeat_n(line, c.len_utf8()));
            line += u32::from(c == '\n');
            rest = after;
        }
        Ok(Spliced { text, lines })
    }

    pub(super) fn tokens(&self) -> Result<Vec<Token<'_>>, LexError> {
        let mut lexer = Lexer { spliced: self, at: 0, fresh: true, directive: false };
        let mut tokens = Vec::new();
        while let Some(token) = lexer.next()? {
            tokens.push(token);
        }
        Ok(tokens)
    }
}

struct Lexer<'a> {
    spliced: &'a Spliced,
    at: usize,
    fresh: bool,
    directive: bool,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, LexError> {
        self.skip_blanks()?;
        let rest = self.rest();
        let Some(c) = rest.bytes().next() else { return Ok(None) };
        let ident = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        let (kind, length) = match c {
            b'0'..=b'9' => (Kind::Number, number(rest)),
            b'.' if rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) => (Kind::Number, number(rest)),
            b'\'' | b'"' => {
                let length = quoted(rest).ok_or(self.error("a quote that does not end on its line"))?;
                (if c == b'"' { Kind::Text } else { Kind::Char }, length)
            }
            c if ident(c) => (Kind::Ident, rest.bytes().take_while(|c| ident(*c)).count()),
            _ if rest.starts_with("##") => (Kind::Punct, 2),
            _ => (Kind::Punct, self.punct(rest)?),
        };
        let first = std::mem::replace(&mut self.fresh, false);
        let text = &rest[..length];
        self.directive |= first && text.starts_with('#');
        let token = Token { kind, text, line: self.line(), directive: self.directive, first };
        self.at += length;
        Ok(Some(token))
    }

    /// One character, if it is read the same way by everybody.
    fn punct(&self, rest: &str) -> Result<usize, LexError> {
        if ["<:", ":>", "<%", "%>", "%:"].iter().any(|digraph| rest.starts_with(digraph)) {
            return Err(self.error("a digraph (<: :> <% %> %:): write [ ] { } #"));
        }
        if rest.starts_with("??") {
            return Err(self.error("a trigraph (?? and another character)"));
        }
        match rest.chars().next() {
            Some('\\') => Err(self.error("a backslash outside of quotes that does not continue the line")),
            Some(c) if !c.is_ascii() => Err(self.error("a character outside of ASCII: it may stand in comments only")),
            _ => Ok(1),
        }
    }

    fn skip_blanks(&mut self) -> Result<(), LexError> {
        loop {
            let rest = self.rest();
            if rest.starts_with('\n') {
                (self.fresh, self.directive) = (true, false);
                self.at += 1;
            } else if rest.starts_with([' ', '\t', '\r', '\x0b', '\x0c']) {
                self.at += 1;
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                // A comment of several lines is one blank: it does not end a preprocessor line.
                self.at += comment.find("*/").ok_or(self.error("a comment that does not end"))? + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.spliced.text[self.at..]
    }

    fn line(&self) -> u32 {
        self.spliced.lines.get(self.at).copied().unwrap_or(1)
    }

    fn error(&self, what: &'static str) -> LexError {
        LexError { line: self.line(), what }
    }
}

/// Length of the preprocessing number at the start.
fn number(text: &str) -> usize {
    let mut before = b' ';
    let belongs = |c: u8| {
        let sign = matches!(c, b'+' | b'-') && matches!(before, b'e' | b'E' | b'p' | b'P');
        before = c;
        sign || c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_')
    };
    text.bytes().map(belongs).take_while(|belongs| *belongs).count()
}

/// Length of the quoted text at the start, its quotes included.
fn quoted(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    let quote = bytes.next()?.1;
    while let Some((at, c)) = bytes.next() {
        match c {
            b'\n' => return None,
            b'\\' => {
                bytes.next().filter(|(_, escaped)| *escaped != b'\n')?;
            }
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Result<Vec<(String, u32, bool)>, LexError> {
        let spliced = Spliced::new(source)?;
        let tokens = spliced.tokens()?;
        Ok(tokens.iter().map(|token| (token.text.to_owned(), token.line, token.directive)).collect())
    }

    fn check(source: &str, want: &[(&str, u32, bool)]) {
        let want: Vec<_> = want.iter().map(|(text, line, directive)| ((*text).to_owned(), *line, *directive)).collect();
        assert_eq!(texts(source), Ok(want), "{source}");
    }

    #[test]
    fn joined_lines_keep_the_line_where_a_token_begins() {
        check("a fl\\\noat b", &[("a", 1, false), ("float", 1, false), ("b", 2, false)]);
        check("// c \\\n still a comment\nx", &[("x", 3, false)]);
        check("/\\\n* c *\\\r\n/ x", &[("x", 3, false)]);
    }

    #[test]
    fn comments_are_blanks_and_do_not_end_a_preprocessor_line() {
        let want = [("#", 1, true), ("define", 1, true), ("A", 1, true), ("b", 2, true), ("c", 3, false)];
        check("#define A /* \n */ b\nc", &want);
        check("a/**/b", &[("a", 1, false), ("b", 1, false)]);
        check("\"/*\" '\"' x // \"", &[("\"/*\"", 1, false), ("'\"'", 1, false), ("x", 1, false)]);
    }

    #[test]
    fn numbers_are_read_whole() {
        check("1.5e-3f+x", &[("1.5e-3f", 1, false), ("+", 1, false), ("x", 1, false)]);
        check("a.5 v.s0", &[("a", 1, false), (".5", 1, false), ("v", 1, false), (".", 1, false), ("s0", 1, false)]);
        check("0x1fUL-1", &[("0x1fUL", 1, false), ("-", 1, false), ("1", 1, false)]);
    }

    #[test]
    fn what_compilers_read_differently_is_refused() {
        for (source, line) in [
            ("a ??= b", 1),
            ("// ??/\nx", 1),
            ("\n%: define", 2),
            ("a <: 1 :>", 1),
            ("x \\ \n y", 1),
            ("\\u0066", 1),
            ("a\rb", 1),
            ("a\0b", 1),
            ("ﬂoat", 1),
            ("\n/* a", 2),
            ("'a", 1),
            ("\n\"a\n\"", 2),
            ("'\\\n", 1),
        ] {
            assert_eq!(texts(source).map_err(|error| error.line), Err(line), "{source:?}");
        }
    }
}
