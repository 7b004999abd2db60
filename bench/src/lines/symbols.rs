//! Functions of the kernel by their addresses.

use std::fs;

use anyhow::{Context as _, Result, ensure};

/// What `/proc/kallsyms` says, by address.
pub(super) struct Symbols {
    all: Vec<(u64, String)>,
}

impl Symbols {
    pub(super) fn read() -> Result<Self> {
        let text = fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
        let all = Self::parse(&text);
        ensure!(
            !all.all.is_empty(),
            "the kernel hides its addresses: set the sysctl kernel.kptr_restrict to 0"
        );
        Ok(all)
    }

    /// Lines of address, type, name and perhaps module; those without an address are left out.
    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let name = words.nth(1)?;
            (address != 0).then(|| (address, name.to_owned()))
        };
        let mut all: Vec<_> = text.lines().filter_map(line).collect();
        all.sort();
        Self { all }
    }

    /// The function that has the instruction at an address; 0 stands for user space.
    pub(super) fn function(&self, address: u64) -> &str {
        if address == 0 {
            return "(user space)";
        }
        let next = self.all.partition_point(|(start, _)| *start <= address);
        next.checked_sub(1).map_or("(unknown)", |at| &self.all[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_function_before_it() {
        let symbols = Symbols::parse("0000000000000000 A hidden\nff10 t second\nff00 T first\t[module]\n");
        assert_eq!(symbols.function(0xff0f), "first");
        assert_eq!(symbols.function(0xff10), "second");
        assert_eq!(symbols.function(0xfe00), "(unknown)");
        assert_eq!(symbols.function(0), "(user space)");
    }
}
