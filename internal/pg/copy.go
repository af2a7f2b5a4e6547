package pg

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// Pipe copies rows from one transaction to another, also of another database, in constant memory, and returns their number. selects is the
// query to read; into is the table with its columns, "task (id, title)". Both texts must be constants of the program.
func Pipe(ctx context.Context, from, to pgx.Tx, selects, into string) (rows int64, err error) {
	reader, writer := io.Pipe()
	read := make(chan error, 1)
	go func() {
		//sqlcheck:allow constants of the program, as said above
		_, err := from.Conn().PgConn().CopyTo(ctx, writer, `copy (`+selects+`) to stdout`)
		writer.CloseWithError(err) // nil means the end of the rows
		read <- err
	}()
	//sqlcheck:allow constants of the program, as said above
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
