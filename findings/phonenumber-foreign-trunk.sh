#!/usr/bin/env bash
# phonenumber 0.3.10 (the Rust crate), beside phonenumbers 9.0.20 (libphonenumber for Python).
#
# A number that begins with a plus tells its country itself, whatever the default region. The crate cuts the default
# region's trunk digit off such a number all the same: with RU, whose trunk digit is 8, an Irish mobile number loses
# an 8 and becomes another valid Irish number. Of national numbers it takes the region's own code off a second time.
#
# Seen: the two disagree in each line, and the wrong Irish number counts as a valid one.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
cargo init -q --name finding .
cargo add -q phonenumber@=0.3.10
python3 -m venv python
python/bin/pip install -q phonenumbers==9.0.20

cat > numbers <<'END'
RU|+353 85 123 4567
RU|+7 812 123-45-67
BR|(55) 98031-8179
IT|391 027 6214
IN|91234 56789
END

cat > src/main.rs <<'END'
fn main() {
    for line in std::fs::read_to_string("numbers").unwrap().lines() {
        let (region, text) = line.split_once('|').unwrap();
        match phonenumber::parse(Some(region.parse().unwrap()), text) {
            Ok(number) => println!(
                "{line}|{}|{}",
                number.format().mode(phonenumber::Mode::E164),
                if phonenumber::is_valid(&number) { "valid" } else { "not valid" }
            ),
            Err(error) => println!("{line}|{error}|not valid"),
        }
    }
}
END
cat > other.py <<'END'
import phonenumbers as p
for line in open("numbers").read().splitlines():
    region, text = line.split("|")
    number = p.parse(text, region)
    print(line, p.format_number(number, p.PhoneNumberFormat.E164), "valid" if p.is_valid_number(number) else "not valid", sep="|")
END

echo "phonenumber 0.3.10:"
cargo run -q | tee one
echo "phonenumbers 9.0.20:"
python/bin/python other.py | tee two

diff one - <<'END'
RU|+353 85 123 4567|+35351234567|valid
RU|+7 812 123-45-67|+7121234567|not valid
BR|(55) 98031-8179|+55980318179|not valid
IT|391 027 6214|+3910276214|not valid
IN|91234 56789|+9123456789|not valid
END
diff two - <<'END'
RU|+353 85 123 4567|+353851234567|valid
RU|+7 812 123-45-67|+78121234567|valid
BR|(55) 98031-8179|+5555980318179|valid
IT|391 027 6214|+393910276214|valid
IN|91234 56789|+919123456789|valid
END
echo "as found"
