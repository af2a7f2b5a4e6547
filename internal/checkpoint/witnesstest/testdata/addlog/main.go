// Addlog has a litewitness know a log, as its witnessctl does: addlog <database> <origin> <verifier key>.
package main

import (
	"log"
	"os"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// emptyRoot is the hash of a tree without leaves (RFC 6962): the SHA-256 of nothing, in base64.
const emptyRoot = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func main() {
	db, err := sqlite.OpenConn(os.Args[1], sqlite.OpenReadWrite)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	add(db, `insert into log (origin, tree_size, tree_hash) values (?, 0, ?)`, os.Args[2], emptyRoot)
	add(db, `insert into key (origin, key) values (?, ?)`, os.Args[2], os.Args[3])
}

func add(db *sqlite.Conn, sql string, args ...any) {
	if err := sqlitex.Execute(db, sql, &sqlitex.ExecOptions{Args: args}); err != nil {
		log.Fatal(err)
	}
}
