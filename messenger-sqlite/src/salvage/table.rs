//! Reading a table around what is damaged.

use crate::sql::unsigned;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Params, Row, Statement, params_from_iter};

/// A table, and how its rows are found.
pub(super) struct Table {
    pub(super) name: String,
    /// The columns that are copied. A row's number is one of them.
    columns: Vec<String>,
    key: Key,
}

enum Key {
    /// Rows are numbered, by this column.
    Number(usize),
    /// Rows lie in the order of these columns.
    Columns(Vec<String>),
}

impl Table {
    /// All tables of a sound store, that of the users first.
    pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Self>> {
        let mut select = connection.prepare(
            "SELECT name, wr FROM pragma_table_list
             WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'
             ORDER BY name <> 'users', name",
        )?;
        let tables =
            select.query_map([], |row| Self::read(connection, row.get(0)?, row.get(1)?))?;
        tables.collect()
    }

    fn read(connection: &Connection, name: String, without_rowid: bool) -> rusqlite::Result<Self> {
        let mut select =
            connection.prepare("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid")?;
        let columns =
            select.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let columns: Vec<(String, String, i64)> = columns.collect::<Result<_, _>>()?;
        let mut names: Vec<_> = columns.iter().map(|(name, ..)| name.clone()).collect();
        let key = if without_rowid {
            let mut key: Vec<_> = columns.iter().filter(|(.., pk)| *pk > 0).collect();
            key.sort_by_key(|(.., pk)| *pk);
            Key::Columns(key.into_iter().map(|(name, ..)| name.clone()).collect())
        } else {
            let is_number = |(_, kind, pk): &(_, String, i64)| *pk == 1 && kind == "INTEGER";
            Key::Number(columns.iter().position(is_number).unwrap_or_else(|| {
                names.push("rowid".to_owned());
                names.len() - 1
            }))
        };
        Ok(Self {
            name,
            columns: names,
            key,
        })
    }

    pub(super) fn count(&self, connection: &Connection) -> rusqlite::Result<u64> {
        let count = format!("SELECT count(*) FROM {}", self.name);
        connection.query_row(&count, [], |row| row.get(0).map(unsigned))
    }

    /// Copies what can be read; how many rows there were, if that can be told.
    pub(super) fn copy(&self, old: &Connection, new: &Connection) -> rusqlite::Result<Option<u64>> {
        let marks = vec!["?"; self.columns.len()].join(", ");
        let (name, columns) = (&self.name, self.columns.join(", "));
        let insert = format!("INSERT OR REPLACE INTO {name} ({columns}) VALUES ({marks})");
        let mut copy = Copy {
            table: self,
            old,
            insert: new.prepare(&insert)?,
            read: 0,
        };
        let order = self.order("ASC");
        let (to, is_whole) = copy.rows(&format!("ORDER BY {order}"), [])?;
        if is_whole {
            return Ok(Some(copy.read));
        }
        let order = self.order("DESC");
        let (from, _) = copy.rows(&format!("ORDER BY {order}"), [])?;
        match &self.key {
            Key::Number(key) => {
                copy.numbers_between(*key, to.unwrap_or(i64::MIN), from.unwrap_or(i64::MAX))?;
            }
            Key::Columns(key) => copy.of_users(key, new)?,
        }
        Ok(self.count_by_index(old))
    }

    fn order(&self, direction: &str) -> String {
        let columns: Vec<_> = match &self.key {
            Key::Number(_) => vec![format!("rowid {direction}")],
            Key::Columns(columns) => columns
                .iter()
                .map(|column| format!("{column} {direction}"))
                .collect(),
        };
        columns.join(", ")
    }

    /// An index has each row once, and may be sound where the table is not.
    fn count_by_index(&self, old: &Connection) -> Option<u64> {
        let list = "SELECT name FROM pragma_index_list(?1)
                    WHERE NOT partial AND (origin <> 'pk' OR ?2)";
        let is_numbered = matches!(self.key, Key::Number(_));
        let mut list = old.prepare(list).ok()?;
        let names = list.query_map((&self.name, is_numbered), |row| row.get::<_, String>(0));
        names.ok()?.flatten().find_map(|index| {
            let table = &self.name;
            let count = format!("SELECT count(*) FROM {table} INDEXED BY {index}");
            old.query_row(&count, [], |row| row.get(0).map(unsigned))
                .ok()
        })
    }
}

/// A table that is being copied.
struct Copy<'a> {
    table: &'a Table,
    old: &'a Connection,
    insert: Statement<'a>,
    /// Rows that were there, whether they could be copied or not.
    read: u64,
}

impl Copy<'_> {
    /// Copies rows until one cannot be read: the number of the last, and true when that was the last of all.
    fn rows(&mut self, which: &str, params: impl Params) -> rusqlite::Result<(Option<i64>, bool)> {
        let Table { name, columns, .. } = self.table;
        let columns = columns.join(", ");
        let select = format!("SELECT {columns} FROM {name} NOT INDEXED {which}");
        let mut last = None;
        let Ok(mut select) = self.old.prepare(&select) else {
            return Ok((last, false));
        };
        let Ok(mut rows) = select.query(params) else {
            return Ok((last, false));
        };
        loop {
            match rows.next() {
                Ok(Some(row)) => last = self.row(row)?.or(last),
                Ok(None) => return Ok((last, true)),
                Err(_) => return Ok((last, false)),
            }
        }
    }

    /// Copies a row; its number, if it has one.
    fn row(&mut self, row: &Row<'_>) -> rusqlite::Result<Option<i64>> {
        self.read += 1;
        let number = match self.table.key {
            Key::Number(key) => row.get(key).ok(),
            Key::Columns(_) => None,
        };
        let values = (0..self.table.columns.len()).map(|column| row.get::<_, Value>(column));
        // What is no text where there has to be some cannot be kept.
        let Ok(values) = values.collect::<Result<Vec<_>, _>>() else {
            return Ok(number);
        };
        match self.insert.execute(params_from_iter(values)) {
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) => {
                Err(error)
            }
            // Rows are met twice, and damaged ones are not what may be in the table.
            _ => Ok(number),
        }
    }

    /// Copies rows with numbers between these, behind each of which something is damaged.
    fn numbers_between(&mut self, key: usize, from: i64, to: i64) -> rusqlite::Result<()> {
        let column = self.table.columns.get(key).map_or("rowid", String::as_str);
        let mut damaged = from;
        while let Some(behind) = self.behind(column, damaged, to) {
            let which = format!("WHERE {column} >= ?1 ORDER BY {column}");
            let (last, is_end) = self.rows(&which, [behind])?;
            damaged = last.unwrap_or(behind).max(behind);
            if is_end || damaged >= to {
                break;
            }
        }
        Ok(())
    }

    /// The least number behind a damaged one from which rows can be found again, if one is found before the end.
    fn behind(&self, column: &str, damaged: i64, end: i64) -> Option<i64> {
        let name = &self.table.name;
        let find = format!(
            "SELECT {column} FROM {name} NOT INDEXED WHERE {column} >= ?1 ORDER BY {column} LIMIT 1"
        );
        let mut find = self.old.prepare(&find).ok()?;
        let mut is_found = |number: i64| find.exists([number]).is_ok();
        let mut step: i64 = 1;
        loop {
            let number = damaged.checked_add(step)?;
            if number >= end {
                return None;
            }
            if is_found(number) {
                break;
            }
            step = step.checked_mul(2)?;
        }
        // Half of that was not far enough, or it is the first.
        let (mut too_near, mut far_enough) = (step / 2, step);
        while far_enough - too_near > 1 {
            let middle = too_near + (far_enough - too_near) / 2;
            if is_found(damaged + middle) {
                far_enough = middle;
            } else {
                too_near = middle;
            }
        }
        Some(damaged + far_enough)
    }

    /// Copies the rows whose key begins with the login of a user who was saved.
    fn of_users(&mut self, key: &[String], new: &Connection) -> rusqlite::Result<()> {
        let Some(first) = key.first() else {
            return Ok(());
        };
        let which = format!("WHERE {first} = ?1");
        let mut users = new.prepare("SELECT login FROM users")?;
        let mut users = users.query([])?;
        while let Some(user) = users.next()? {
            self.rows(&which, [user.get::<_, String>(0)?])?;
        }
        Ok(())
    }
}
