//! The dialect of Containerfiles that can be built without a container engine; any Docker or Podman builds them too.
//!
//! `FROM scratch` or `FROM debian:${SUITE}-slim`; `RUN` only as one `apt-get install` with clean-up; `COPY`, `ENV`,
//! `WORKDIR`, `USER`, `ENTRYPOINT` in JSON form. Everything else is refused, with its line.

use anyhow::{Context, Result, bail};

/// What an image is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    /// The Debian base, unless the image starts from nothing.
    pub base: Option<Base>,
    /// Name of a file in the build folder, and its path in the image.
    pub copies: Vec<(String, String)>,
    /// Variables, `NAME=value`.
    pub environment: Vec<String>,
    /// Working folder.
    pub workdir: String,
    /// User and group.
    pub user: String,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
}

/// A Debian file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Debian's release name.
    pub suite: String,
    /// Packages beyond the essential ones.
    pub packages: Vec<String>,
    /// Paths removed after the installation.
    pub removed: Vec<String>,
}

impl Recipe {
    /// Reads a Containerfile. A non-empty `suite` replaces the default of its `ARG SUITE`.
    pub fn parse(text: &str, suite: &str) -> Result<Self> {
        let mut recipe = Self::default();
        let mut chosen = suite.to_owned();
        for (number, line) in logical_lines(text) {
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
            recipe.add(word, rest.trim(), &mut chosen).with_context(|| format!("line {number}: {line}"))?;
        }
        if recipe.entrypoint.is_empty() {
            bail!("an image needs an ENTRYPOINT");
        }
        Ok(recipe)
    }

    /// Names of the files that the image copies.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.copies.iter().map(|(source, _)| source.as_str())
    }

    fn add(&mut self, word: &str, rest: &str, suite: &mut String) -> Result<()> {
        match word {
            "ARG" => {
                let default = rest.strip_prefix("SUITE=").context("only ARG SUITE=... is understood")?;
                if suite.is_empty() {
                    default.clone_into(suite);
                }
            }
            "FROM" if rest == "scratch" => {}
            "FROM" if rest == "debian:${SUITE}-slim" => {
                self.base = Some(Base { suite: suite.clone(), packages: Vec::new(), removed: Vec::new() });
            }
            "FROM" => bail!("only scratch and debian:${{SUITE}}-slim can be a base"),
            "RUN" => self.base.as_mut().context("RUN needs a base")?.run(rest)?,
            "COPY" => self.copy(rest)?,
            "ENV" => self.environment.push(rest.to_owned()),
            "WORKDIR" => rest.clone_into(&mut self.workdir),
            "USER" => rest.clone_into(&mut self.user),
            "ENTRYPOINT" => self.entrypoint = serde_json::from_str(rest).context("ENTRYPOINT is a JSON list")?,
            _ => bail!("{word} is not understood"),
        }
        Ok(())
    }

    fn copy(&mut self, rest: &str) -> Result<()> {
        let mut words: Vec<_> = rest.split_whitespace().collect();
        let target = words.pop().context("COPY needs a target")?;
        if words.is_empty() || (words.len() > 1 && !target.ends_with('/')) {
            bail!("COPY needs sources, and a target that ends with / for several");
        }
        for source in words {
            if source.starts_with('-') || source.contains('/') {
                bail!("COPY takes plain names of files");
            }
            let path = if target.ends_with('/') { format!("{target}{source}") } else { target.to_owned() };
            self.copies.push((source.to_owned(), path));
        }
        Ok(())
    }
}

impl Base {
    fn run(&mut self, command: &str) -> Result<()> {
        for part in command.split("&&") {
            let words: Vec<_> = part.split_whitespace().collect();
            match words.as_slice() {
                ["apt-get", "update"] => {}
                ["apt-get", "install", "--yes", "--no-install-recommends", packages @ ..] => {
                    self.packages.extend(packages.iter().map(ToString::to_string));
                }
                ["rm", "-rf", paths @ ..] if paths.iter().all(|path| path.starts_with('/')) => {
                    self.removed.extend(paths.iter().map(ToString::to_string));
                }
                _ => bail!("`{}` is not understood", part.trim()),
            }
        }
        Ok(())
    }
}

/// Lines joined where they end with a backslash, without comments, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (start, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        joined.push_str(line.trim_end_matches('\\'));
        if line.ends_with('\\') {
            open = Some((start, joined));
        } else {
            lines.push((start, joined));
        }
    }
    lines.extend(open);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# comment\nARG SUITE=bookworm\nFROM debian:${SUITE}-slim\n\
        RUN apt-get update && apt-get install --yes --no-install-recommends a b \\\n    && rm -rf /var/x\n\
        COPY one two /usr/local/bin/\nENV A=1\nUSER 65532:65532\nENTRYPOINT [\"/usr/local/bin/one\"]\n";

    #[test]
    fn the_whole_dialect_is_read() {
        let recipe = Recipe::parse(TEXT, "").unwrap();
        let text = |text: &str| text.to_owned();
        let base =
            Base { suite: text("bookworm"), packages: vec![text("a"), text("b")], removed: vec![text("/var/x")] };
        let expected = Recipe {
            base: Some(base),
            copies: vec![(text("one"), text("/usr/local/bin/one")), (text("two"), text("/usr/local/bin/two"))],
            environment: vec![text("A=1")],
            workdir: String::new(),
            user: text("65532:65532"),
            entrypoint: vec![text("/usr/local/bin/one")],
        };
        assert_eq!(recipe, expected);
    }

    #[test]
    fn the_hosts_suite_wins_over_the_default() {
        let recipe = Recipe::parse(TEXT, "trixie").unwrap();
        assert_eq!(recipe.base.unwrap().suite, "trixie");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for bad in ["RUN curl x", "ADD a b", "FROM alpine", "COPY --from=x a b", "COPY ../a /b"] {
            let text = format!("ARG SUITE=bookworm\nFROM debian:${{SUITE}}-slim\n{bad}\nENTRYPOINT [\"/a\"]\n");
            let error = Recipe::parse(&text, "").unwrap_err().to_string();
            assert!(error.starts_with("line 3"), "{bad}: {error}");
        }
    }
}
