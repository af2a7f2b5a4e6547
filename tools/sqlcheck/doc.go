// Command sqlcheck is the linter that says "no SQL from strings". `make lint` runs it over the module as
// `go vet -vettool`, because gosec's rules G201, G202 and G701 know database/sql only and see nothing of pgx.
//
// The rule: whatever is passed for a parameter named sql (pgx names it so, and so do our own functions), or
// for a parameter named query of pgx or database/sql, is known when the program is compiled: a constant, an
// embedded file, a variable or field that only ever holds such, or these joined with `+` or fmt.Sprintf.
// Joined in may also be numbers, and names quoted by pgx.Identifier's Sanitize, since Postgres takes no
// parameter there. A function may hand on its own parameter named sql: its callers are checked.
//
// And no SET and no set_config(..., false): behind a pooler they outlive the transaction and reach the next
// workspace (docs/architecture.md, Tenancy). SET LOCAL, SET CONSTRAINTS and SET TRANSACTION end with the transaction.
//
// A line that must break the rule says why, on it or on the line above: `//sqlcheck:allow <reason>`.
// Test files are not looked at.
package main
