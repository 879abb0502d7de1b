#!/usr/bin/env bash
# precis-profiles 0.1.13 (the Rust crate of RFC 8265, for user names).
#
# Its tables are those of Unicode 6.3, of 2013. Letters encoded since are "unassigned" to it and every name that holds one
# is refused: small letters of Cherokee (Unicode 8), Adlam, in which Fula is written (9), Newa (9), Georgian capitals (11),
# Wancho (12).
#
# Seen: the names of the first line are taken, those of all others are refused as holding an unassigned code point.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
cargo init -q --name finding .
cargo add -q precis-profiles@=0.1.13

cat > src/main.rs <<'END'
use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::Error;
use precis_profiles::precis_core::profile::Profile;

fn main() {
    let profile = UsernameCaseMapped::new();
    for (since, name) in [
        ("before 6.3", "m\u{e4}rta"),
        ("8.0", "\u{13a0}\u{13f8}"),
        ("9.0", "\u{1e900}\u{1e901}"),
        ("9.0", "\u{11400}\u{11401}"),
        ("11.0", "\u{1c90}\u{1c91}"),
        ("12.0", "\u{1e2c0}\u{1e2c1}"),
    ] {
        let became = match profile.enforce(name) {
            Ok(_) => "taken".to_owned(),
            Err(Error::BadCodepoint(info)) => format!("refused, {:?}", info.property),
            Err(error) => format!("{error:?}"),
        };
        println!("Unicode {since}: {became}");
    }
}
END
cargo run -q | tee seen
diff seen - <<'END'
Unicode before 6.3: taken
Unicode 8.0: refused, Unassigned
Unicode 9.0: refused, Unassigned
Unicode 9.0: refused, Unassigned
Unicode 11.0: refused, Unassigned
Unicode 12.0: refused, Unassigned
END
echo "as found"
