package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Rotation moves everything that is sealed directly under the keyring to its first key: data keys, and the sign-ups and mails that
// wait. Values under a data key stay as they are, so no event is rewritten.
//
// It keeps no state, because each value tells under which key it is. So a rotation that was killed goes on where it stopped. A value is
// replaced only while it is still the one that was read. So several rotations may run at once, and servers may go on meanwhile.
type Rotation struct {
	DB         *pg.DB
	Keys       *keyring.Keyring
	Workspaces func(context.Context) ([]pg.Workspace, error) // all that exist at the moment
	Progress   func(Progress)                                // called after each workspace; may be nil

	settle time.Duration // shorter in tests
}

// Progress is how far one pass over all values has come.
type Progress struct {
	Workspaces, Of int
	Rewrapped      int
}

// Census counts the values under each key.
type Census struct {
	Keys     []string                  // the IDs of the keyring, in order
	Values   map[string]map[string]int // by place, and by the ID of the key
	Unopened []string                  // where the values are that no key opens, or that were sealed for another purpose
}

// Places are the names of what is sealed directly under the keyring.
var Places = []string{"data keys", "sign-ups", "mails", "limit keys", "inquiries"}

// Older is how many values are under other keys than the first.
func (c Census) Older() (n int) {
	for _, of := range c.Values {
		for id, values := range of {
			if id != c.Keys[0] {
				n += values
			}
		}
	}
	return n
}

// settle is longer than any process takes from sealing a value to committing it.
const settle = 5 * time.Second

func (r Rotation) settles() time.Duration { return cmp.Or(r.settle, settle) }

// maxPasses limits a rotation that other processes keep undoing.
const maxPasses = 10

// StillUsedError says that a server goes on to seal with an older key.
type StillUsedError struct{ Key string }

func (e *StillUsedError) Error() string {
	return fmt.Sprintf("something still seals with the key %s: give that server the new key file, or restart it, and rotate again", e.Key)
}

// Run rewraps until a pass over everything finds nothing under an older key. That pass begins so late that it sees whatever was sealed
// before every server had the new key: see keyring.LookEvery.
func (r Rotation) Run(ctx context.Context) (Census, error) {
	quiet := r.Keys.Changed()
	if now := time.Now(); quiet.After(now) {
		quiet = now // the clock of the file's machine is ahead
	}
	quiet = quiet.Add(keyring.LookEvery)
	var last Census
	for range maxPasses {
		ring := r.Keys.Now()
		began := time.Now()
		census, err := r.pass(ctx, ring, true)
		if err != nil {
			return census, err
		}
		if !slices.Equal(ring.IDs(), r.Keys.Now().IDs()) {
			continue // a key was added meanwhile: begin again with it
		}
		if census.Older() > 0 {
			quiet = time.Now()
		} else if began.Sub(quiet) >= r.settles() {
			return census, nil
		}
		last = census
		if err := sleep(ctx, time.Until(quiet.Add(r.settles()))); err != nil {
			return census, err
		}
	}
	for i, id := range last.Keys {
		for _, of := range last.Values {
			if i > 0 && of[id] > 0 {
				return last, &StillUsedError{Key: id}
			}
		}
	}
	return last, errors.New("the key file keeps changing: rotate again")
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Count counts everything and changes nothing.
func (r Rotation) Count(ctx context.Context) (Census, error) { return r.pass(ctx, r.Keys.Now(), false) }

// place is where sealed values are. They are read in pages by id: $1 is the last id of the page before, $2 the size of a page.
type place struct {
	name   string
	first  string // an id before all others
	page   string
	rewrap string // $1: ids, $2: the values as they were read, $3: the new ones
}

var (
	dataKeys = place{
		name: Places[0], first: uuid.Nil.String(),
		page: `select subject::text as id, wrapped as sealed from data_key where subject > $1::text::uuid order by subject limit $2`,
		rewrap: `update data_key set wrapped = new.sealed from unnest($1::text[], $2::text[], $3::text[]) as new (id, was, sealed)
			where subject = new.id::uuid and wrapped = new.was`,
	}
	control = []place{{
		name: Places[1], first: uuid.Nil.String(),
		page: `select id::text, sealed from kluis.signup where id > $1::text::uuid order by id limit $2`,
		rewrap: `update kluis.signup set sealed = new.sealed from unnest($1::text[], $2::text[], $3::text[]) as new (id, was, sealed)
			where signup.id = new.id::uuid and signup.sealed = new.was`,
	}, {
		name: Places[2], first: "0",
		page: `select id::text, args ->> 'sealed' as sealed from kluis_jobs.river_job
			where kind = 'mail' and args ? 'sealed' and id > $1::text::bigint order by river_job.id limit $2`,
		rewrap: `update kluis_jobs.river_job set args = jsonb_set(args, '{sealed}', to_jsonb(new.sealed))
			from unnest($1::text[], $2::text[], $3::text[]) as new (id, was, sealed)
			where river_job.id = new.id::bigint and args ->> 'sealed' = new.was`,
	}, {
		name: Places[3], first: "0", // one row at most
		page: `select '1' as id, wrapped as sealed from kluis.limit_key where $1::text < '1' limit $2`,
		rewrap: `update kluis.limit_key set wrapped = new.sealed from unnest($1::text[], $2::text[], $3::text[]) as new (id, was, sealed)
			where wrapped = new.was`,
	}, {
		name: Places[4], first: uuid.Nil.String(),
		page: `select id::text, sealed from kluis.security_pack where id > $1::text::uuid order by id limit $2`,
		rewrap: `update kluis.security_pack set sealed = new.sealed from unnest($1::text[], $2::text[], $3::text[]) as new (id, was, sealed)
			where security_pack.id = new.id::uuid and security_pack.sealed = new.was`,
	}}
)

// pageRows is how many values one transaction rewraps.
const pageRows = 500

// pass goes over everything once, and rewraps it if rewrap is true. The census counts what was found before that.
func (r Rotation) pass(ctx context.Context, ring *keyring.Keyring, rewrap bool) (Census, error) {
	census := Census{Keys: ring.IDs(), Values: map[string]map[string]int{}}
	for _, name := range Places {
		census.Values[name] = map[string]int{}
	}
	p := &passing{ring: ring, rewrap: rewrap, census: &census}
	for _, place := range control {
		err := p.over(ctx, place, pg.Workspace{}, r.DB.Control)
		if err != nil && !pg.Is(err, pg.UndefinedTable) { // the database was never migrated
			return census, fmt.Errorf("%s: %w", place.name, err)
		}
	}
	workspaces, err := r.Workspaces(ctx)
	if err != nil {
		return census, err
	}
	for i, w := range workspaces {
		own := func(ctx context.Context, fn func(pgx.Tx) error) error { return r.DB.Own(ctx, w.Schema(), fn) }
		err := p.over(ctx, dataKeys, w, own)
		if err != nil && !pg.Is(err, pg.UndefinedTable) { // the workspace was erased meanwhile
			return census, fmt.Errorf("data keys of workspace %s: %w", w.ID, err)
		}
		if r.Progress != nil {
			r.Progress(Progress{Workspaces: i + 1, Of: len(workspaces), Rewrapped: p.rewrapped})
		}
	}
	return census, nil
}

// passing is a pass under way.
type passing struct {
	ring      *keyring.Keyring
	rewrap    bool
	census    *Census
	rewrapped int
}

// over goes over one place, a page in a transaction.
func (p *passing) over(ctx context.Context, place place, w pg.Workspace, in func(context.Context, func(pgx.Tx) error) error) error {
	for after := place.first; after != ""; {
		var rows []sealedRow
		var changed [3][]string
		err := in(ctx, func(tx pgx.Tx) (err error) {
			rows, changed, err = p.page(ctx, tx, place, after)
			return err
		})
		if pg.Is(err, pg.Deadlock) { // another rotation has the same rows: read the page again
			continue
		}
		if err != nil {
			return err
		}
		p.rewrapped += len(changed[0])
		for _, row := range rows {
			p.count(place, w, row)
		}
		after = ""
		if len(rows) == pageRows {
			after = rows[len(rows)-1].ID
		}
	}
	return nil
}

type sealedRow struct{ ID, Sealed string }

// page reads one page, and rewraps what is not under the first key.
func (p *passing) page(ctx context.Context, tx pgx.Tx, place place, after string) (rows []sealedRow, changed [3][]string, err error) {
	found, err := tx.Query(ctx, place.page, after, pageRows)
	if err != nil {
		return nil, changed, err
	}
	if rows, err = pgx.CollectRows(found, pgx.RowToStructByName[sealedRow]); err != nil || !p.rewrap {
		return rows, changed, err
	}
	for _, row := range rows {
		if p.ring.Current(row.Sealed) {
			continue
		}
		if sealed, err := p.ring.Rewrap(row.Sealed); err == nil { // what no key opens is in the census
			changed[0], changed[1], changed[2] = append(changed[0], row.ID), append(changed[1], row.Sealed), append(changed[2], sealed)
		}
	}
	if changed[0] != nil {
		_, err = tx.Exec(ctx, place.rewrap, changed[0], changed[1], changed[2])
	}
	return rows, changed, err
}

// count notes under which key a value is. A data key has to be sealed for the purpose that its row tells, too.
func (p *passing) count(place place, w pg.Workspace, row sealedRow) {
	id, opens := p.ring.KeyOf(row.Sealed)
	if opens && place.name == dataKeys.name {
		_, err := p.ring.Unwrap(wrapping(w, uuid.MustParse(row.ID)), row.Sealed)
		opens = err == nil
	}
	if opens {
		p.census.Values[place.name][id]++
		return
	}
	where := place.name + ": " + row.ID
	if place.name == dataKeys.name {
		where += " in workspace " + w.ID.String()
	}
	p.census.Unopened = append(p.census.Unopened, where)
}

// Check refuses keys that do not open the data key of a workspace: they are another installation's, or the right ones are missing. A
// workspace that is erased meanwhile is no error.
func (v *Vault) Check(ctx context.Context, w pg.Workspace) error {
	_, err := v.Key(ctx, w, w.ID)
	if errors.Is(err, ErrErased) || pg.Is(err, pg.NoSuchRole, pg.UndefinedTable) {
		return nil
	}
	if errors.Is(err, keyring.ErrSealed) {
		return fmt.Errorf("KLUIS_KEYS: none of the keys %v opens the data of this database: put back the keys that it was made with", v.keys.IDs())
	}
	return err
}
