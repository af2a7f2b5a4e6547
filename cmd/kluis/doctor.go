package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pgserver"
)

// doctor is `kluis doctor`. It has the settings of serve, checks everything that serve would use, and changes nothing.
type doctor struct{ serve }

// finding is the result of a check.
type finding struct {
	grade grade
	says  string
	do    string // what the operator has to do; empty: nothing
}

type grade int

const (
	good grade = iota
	note       // something to know
	bad        // something to mend
)

func (g grade) String() string { return [...]string{"ok", "note", "BAD"}[g] }

func fine(says string) finding            { return finding{says: says} }
func broken(err error, do string) finding { return finding{bad, err.Error(), do} }

func (f finding) print(out io.Writer, of string) {
	fmt.Fprintf(out, "%-5s %-11s %s\n", f.grade, of, f.says)
	if f.do != "" {
		fmt.Fprintf(out, "%17s %s\n", "->", f.do)
	}
}

// patient is the cell that the checks look at.
type patient struct {
	serve
	b    *base
	cell cell
}

// checkups are the checks, in the order in which a start would fail on them.
var checkups = []struct {
	of    string
	check func(patient, context.Context) finding
}{
	{"Postgres", patient.postgres},
	{"durability", patient.durability},
	{"clock", patient.clock},
	{"schema", patient.schema},
	{"workspaces", patient.workspaces},
	{"isolation", patient.isolation},
	{"set_config", patient.setConfigRight},
	{"keys", patient.keysOpen},
	{"key file", patient.keyFile},
	{"blobs", patient.blobs},
	{"witnesses", patient.witnessesKnow},
	{"mail", patient.mails},
	{"public URL", patient.address},
	{"backups", patient.backups},
	{"disk", patient.disk},
}

func (d doctor) Run(ctx context.Context, out outputs) error {
	if _, err := d.check(); err != nil {
		return err
	}
	all := d
	return errors.Join(d.each(ctx, d.outside, func(c cell) error {
		if !c.alone {
			fmt.Fprintf(out.stdout, "region %s\n", c.name)
		}
		d.settings, d.outside = c.settings, c.outside
		return d.checkCell(ctx, out, c)
	}), all.placed(ctx, out))
}

// checkCell runs all checks of one cell, and prints what they find.
func (d doctor) checkCell(ctx context.Context, out outputs, of cell) error {
	b, err := d.openThere(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	mend := 0
	for _, c := range checkups {
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		f := c.check(patient{d.serve, b, of}, limited)
		cancel()
		f.print(out.stdout, c.of)
		if f.grade == bad {
			mend++
		}
	}
	if mend > 0 {
		return fmt.Errorf("%d of %d checks found something to mend", mend, len(checkups))
	}
	return nil
}

// ask reads one row in the control schema's transaction.
func (p patient) ask(ctx context.Context, sql string, into ...any) error {
	return p.b.DB.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, sql).Scan(into...) //sqlcheck:allow a constant of the caller
	})
}

func (p patient) postgres(ctx context.Context) finding {
	var version, encoding string
	var number, roles int
	err := p.ask(ctx, `select current_setting('server_version'), current_setting('server_version_num')::int, current_setting('server_encoding'), (select count(*) from pg_roles)`,
		&version, &number, &encoding, &roles)
	switch {
	case err != nil:
		return broken(err, "")
	case number < 150000 || encoding != "UTF8":
		return finding{bad, "Postgres " + version + ", " + encoding, "Kluis needs Postgres 15 or newer, and a database in UTF8"}
	case number < 170000 && roles > 1000:
		return finding{note, fmt.Sprintf("Postgres %s with %d roles", version, roles), "each new connection lists its roles: Postgres 17 or newer does that much faster"}
	case p.b.private != nil:
		return fine("a private Postgres " + version)
	}
	return fine("Postgres " + version)
}

func (p patient) durability(ctx context.Context) finding {
	var fsync, pages string
	if err := p.ask(ctx, `select current_setting('fsync'), current_setting('full_page_writes')`, &fsync, &pages); err != nil {
		return broken(err, "")
	}
	if fsync != "on" || pages != "on" {
		return finding{bad, "fsync is " + fsync + " and full_page_writes is " + pages, "turn both on: otherwise a crash of the machine loses acknowledged changes, or destroys the database"}
	}
	return fine("fsync and full_page_writes are on; an append is on disk before it is answered")
}

func (p patient) clock(ctx context.Context) finding {
	var there time.Time
	asked := time.Now()
	if err := p.ask(ctx, `select clock_timestamp()`, &there); err != nil {
		return broken(err, "")
	}
	apart := there.Sub(asked.Add(time.Since(asked) / 2)).Round(time.Millisecond)
	if apart.Abs() > 5*time.Second {
		return finding{bad, fmt.Sprintf("the clocks of this machine and of the database are %s apart", apart), "set both by NTP, because limits and the ends of sessions depend on them"}
	}
	return fine(fmt.Sprintf("%s from the database's", apart))
}

func (p patient) schema(ctx context.Context) finding {
	if err := p.b.Tenancy.Serves(ctx); err != nil {
		return broken(err, "kluis migrate, or a start of kluis serve, migrates it")
	}
	return fine("the control schema is that of this program, or a newer one")
}

func (p patient) workspaces(ctx context.Context) finding {
	entries, err := p.b.Tenancy.All(ctx)
	if err != nil {
		return broken(err, "")
	}
	behind, err := p.b.Tenancy.Behind(ctx)
	if err != nil {
		return broken(err, "")
	}
	if behind > 0 {
		return finding{note, fmt.Sprintf("%d of %d lack migrations, or have newer ones", behind, len(entries)), "kluis migrate status says which, and why"}
	}
	return fine(strconv.Itoa(len(entries)))
}

func (p patient) isolation(ctx context.Context) finding {
	if err := p.b.Tenancy.SelfTest(ctx); err != nil {
		return broken(err, "")
	}
	return fine("no role, grant or membership lets one workspace reach another")
}

func (p patient) setConfigRight(ctx context.Context) finding {
	open, run, err := p.b.Tenancy.SetConfigOpen(ctx)
	if err != nil {
		return broken(err, "")
	}
	if open {
		return finding{note, "everybody may call it in this database, so isolation rests on there being no SQL injection", "as a superuser: " + run}
	}
	return fine("only the logins may call it")
}

func (p patient) keysOpen(ctx context.Context) finding {
	keys, err := keyring.Load(p.keysFile(), p.KeysInline)
	if err != nil {
		return broken(err, "put the copy of the keys back: without them nothing that is encrypted can be read")
	}
	if err := p.b.checkKeys(ctx, keys); err != nil {
		return broken(err, "these are not the keys of this database")
	}
	return fine(fmt.Sprintf("%d, and they open what is encrypted", len(keys.IDs())))
}

func (p patient) keyFile(context.Context) finding {
	if p.KeysInline != "" {
		return fine("the keys are in the environment")
	}
	info, err := os.Stat(p.keysFile())
	if err != nil {
		return finding{note, err.Error(), ""} // keysOpen says what to do
	}
	if info.Mode()&fs.ModePerm&0o077 != 0 {
		return finding{bad, fmt.Sprintf("%s has the mode %04o", p.keysFile(), info.Mode().Perm()), "chmod 600, because other users of this machine may read it"}
	}
	return finding{note, p.keysFile(), "is there a copy elsewhere? No backup has the keys"}
}

func (p patient) blobs(ctx context.Context) finding {
	store, err := p.blobStore(ctx, p.Data)
	if err == nil {
		err = store.Ping(ctx)
	}
	if err != nil {
		return broken(err, "attachments are unavailable until KLUIS_BLOB_URL can be used")
	}
	return fine("the store of files can be used")
}

func (p patient) mails(ctx context.Context) finding {
	if p.SMTPURL == "" {
		return finding{note, "mails are written to files, because no SMTP server is set", "set KLUIS_SMTP_URL, or nobody else gets a code"}
	}
	if err := mail.Ping(ctx, p.SMTPURL); err != nil {
		return broken(err, "check KLUIS_SMTP_URL")
	}
	return fine("the SMTP server accepts the login")
}

func (p patient) address(context.Context) finding {
	url, err := p.publicURL()
	switch {
	case err != nil:
		return broken(err, "")
	case url == "":
		return finding{note, "mails have no links", "set KLUIS_PUBLIC_URL"}
	}
	return fine(url)
}

func (p patient) backups(ctx context.Context) finding {
	major, err := p.b.major(ctx)
	if err != nil {
		return broken(err, "")
	}
	if _, err := pgserver.Client(ctx, "pg_dump", major); err != nil {
		return finding{note, err.Error(), "kluis backup needs it"}
	}
	return fine("kluis backup has the pg_dump that it needs")
}
