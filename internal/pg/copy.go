package pg

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// Pipe copies rows from a transaction to another one, of whatever databases, in constant memory: select is what to read, and into names
// the table and its columns, "task (id, title)". It gives their number. Both texts are of names of our own.
func Pipe(ctx context.Context, from, to pgx.Tx, selects, into string) (rows int64, err error) {
	reader, writer := io.Pipe()
	read := make(chan error, 1)
	go func() {
		//sqlcheck:allow texts of names of our own, as said above
		_, err := from.Conn().PgConn().CopyTo(ctx, writer, `copy (`+selects+`) to stdout`)
		writer.CloseWithError(err) // nil is the end
		read <- err
	}()
	//sqlcheck:allow texts of names of our own, as said above
	tag, err := to.Conn().PgConn().CopyFrom(ctx, reader, `copy `+into+` from stdin`)
	reader.CloseWithError(errors.New("the other database takes no more"))
	if readErr := <-read; err == nil || readErr != nil && Lost(readErr) {
		err = errors.Join(err, readErr)
	}
	if err != nil {
		return 0, fmt.Errorf("copy %s: %w", into, err)
	}
	return tag.RowsAffected(), nil
}
