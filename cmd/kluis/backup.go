package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgserver"
)

// backup is `kluis backup`. A backup is a folder:
//
//	database.dump      the dump of the database, in the custom format of pg_dump
//	blobs/<key>        the files, encrypted as they are stored
//	manifest.json      the version of Kluis, the end of each log, and the SHA-256 of every file
//
// The dump and the ends of the logs are of one snapshot. Blobs are copied after it. A blob never changes, so every blob that the dump names is there,
// unless it was deleted meanwhile.
type backup struct {
	settings
	outside
	NoBlobs bool   `name:"no-blobs" help:"Leave out the files, for instance because their bucket keeps versions."`
	Folder  string `arg:"" help:"Where to write the backup: a new or empty folder."`
}

// manifest describes a backup.
type manifest struct {
	Format     int              `json:"format"`   // 1
	Kluis      string           `json:"kluis"`    // the version of the program
	Postgres   int              `json:"postgres"` // the major version of the server; pg_restore must have this version or a later one
	At         time.Time        `json:"at"`
	Workspaces []manifestLog    `json:"workspaces"`
	Files      map[string]entry `json:"files"` // by path within the folder
}

// manifestLog is the end of a workspace's log.
type manifestLog struct {
	ID       uuid.UUID `json:"id"`
	Slug     string    `json:"slug"`
	Position int64     `json:"position"`
	Last     uuid.UUID `json:"last"` // the id of the event there
}

type entry struct {
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

const (
	manifestFile = "manifest.json"
	dumpFile     = "database.dump"
	blobFolder   = "blobs"
)

func (k backup) Run(ctx context.Context, out outputs) error {
	c, err := k.singleCell(k.outside)
	if err != nil {
		return err
	}
	k.settings, k.outside = c.settings, c.outside
	b, err := k.openMigrated(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	if err := os.MkdirAll(k.Folder, 0o700); err != nil {
		return err
	}
	if there, err := os.ReadDir(k.Folder); err != nil || len(there) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not empty: name a new folder", k.Folder))
	}
	m := manifest{Format: 1, Kluis: version, At: time.Now().UTC(), Files: map[string]entry{}}
	if err := k.dump(ctx, b, out, &m); err != nil {
		return err
	}
	blobs := 0
	if !k.NoBlobs {
		if blobs, err = k.copyBlobs(ctx, out, &m); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(k.Folder, manifestFile), append(text, '\n'), 0o600); err != nil { // last: without it there is no backup
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%s: %d workspaces, %d blobs\nthe backup has no keys: keep a copy of them elsewhere, because without them nothing that is encrypted can be read\n", k.Folder, len(m.Workspaces), blobs)
	return err
}

// dump runs pg_dump on a snapshot, and reads the ends of the logs in the same snapshot.
func (k backup) dump(ctx context.Context, b *base, out outputs, m *manifest) error {
	major, err := b.major(ctx)
	if err != nil {
		return err
	}
	m.Postgres = major
	program, err := pgserver.Client(ctx, "pg_dump", major)
	if err != nil {
		return err
	}
	entries, err := b.Tenancy.All(ctx)
	if err != nil {
		return err
	}
	owner, err := b.ownerMayDump(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.stderr, "dumping the database, with %d workspaces\n", len(entries))
	return b.DB.Admin(ctx, func(tx pgx.Tx) error {
		var snapshot string
		if _, err := tx.Exec(ctx, `set transaction isolation level repeatable read, read only`); err != nil {
			return err
		}
		if err := pg.BecomeOwner(ctx, tx, "kluis"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `select pg_export_snapshot()`).Scan(&snapshot); err != nil {
			return err
		}
		for _, e := range entries {
			ended := manifestLog{ID: e.ID, Slug: e.Slug}
			//sqlcheck:allow a name made of the workspace's id
			err := tx.QueryRow(ctx, `select position, last from `+e.Workspace().Schema()+`.head`).Scan(&ended.Position, &ended.Last)
			if err != nil {
				return fmt.Errorf("workspace %q: %w", e.Slug, err)
			}
			m.Workspaces = append(m.Workspaces, ended)
		}
		file := filepath.Join(k.Folder, dumpFile)
		err := runClient(ctx, program, b.ownerURL, "--schema=kluis", "--schema=kluis_jobs", "--schema=ws_*", "--exclude-schema=ws_*_shadow_*", "--exclude-schema=ws_*_state_*", "--format=custom", "--role="+owner, "--snapshot="+snapshot, "--file="+file)
		if err != nil {
			return err
		}
		return m.add(k.Folder, dumpFile)
	})
}

// copyBlobs copies the blobs of all workspaces into the backup.
func (k backup) copyBlobs(ctx context.Context, out outputs, m *manifest) (n int, err error) {
	store, err := k.blobStore(ctx, k.Data)
	if err != nil {
		return 0, err
	}
	for i, w := range m.Workspaces {
		err := store.List(ctx, w.ID.String(), func(item blob.Item) error {
			n++
			name := blobFolder + "/" + item.Key
			if err := copyBlob(ctx, store, item.Key, filepath.Join(k.Folder, filepath.FromSlash(name))); errors.Is(err, blob.ErrMissing) {
				return nil // deleted since it was listed
			} else if err != nil {
				return err
			}
			return m.add(k.Folder, name)
		})
		if err != nil {
			return n, fmt.Errorf("copy the blobs of workspace %q: %w", w.Slug, err)
		}
		if n > 0 {
			fmt.Fprintf(out.stderr, "blobs of %d of %d workspaces: %d copied\n", i+1, len(m.Workspaces), n)
		}
	}
	return n, nil
}

func copyBlob(ctx context.Context, store blob.Store, key, path string) error {
	b, err := store.Open(ctx, key)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, io.NewSectionReader(b, 0, b.Size()))
	return errors.Join(err, file.Sync(), file.Close())
}

// add adds a file of the backup to the manifest.
func (m *manifest) add(folder, name string) error {
	e, err := sum(filepath.Join(folder, filepath.FromSlash(name)))
	m.Files[name] = e
	return err
}

func sum(path string) (e entry, err error) {
	file, err := os.Open(path)
	if err != nil {
		return e, err
	}
	defer file.Close()
	hash := sha256.New()
	e.Size, err = io.Copy(hash, file)
	e.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return e, err
}

// restore is `kluis restore`.
type restore struct {
	settings
	outside
	Folder string `arg:"" help:"The folder that kluis backup wrote."`
}

// Run puts a backup back:
//
//  1. Every file is compared with the manifest. Nothing of a damaged backup is put back.
//  2. The dump goes into an empty database, and the blobs go into the store.
//  3. The end of each log is compared with the manifest.
//  4. The steps of `kluis restored` follow: roles and grants are made, the other regions are compared, every log begins a new epoch, and the sessions,
//     tokens, codes and mails of the backup end. The keys are checked.
//
// When Run is broken off before the end, the operator begins again, in another empty database.
func (r restore) Run(ctx context.Context, out outputs) error {
	c, err := r.singleCell(r.outside)
	if err != nil {
		return err
	}
	r.settings, r.outside = c.settings, c.outside
	m, err := readManifest(r.Folder)
	if err != nil {
		return err
	}
	keys, err := r.loadRestoredKeys()
	if err != nil {
		return err
	}
	b, err := r.open(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	if err := r.putBack(ctx, b, m, out); err != nil {
		return err
	}
	if err := r.putBlobsBack(ctx, m); err != nil {
		return err
	}
	if err := b.migrate(ctx); err != nil {
		return err
	}
	if err := b.compare(ctx, m); err != nil {
		return err
	}
	if err := c.heedMoves(ctx, b, out); err != nil {
		return err
	}
	if err := b.restored(ctx, out); err != nil {
		return err
	}
	if err := b.checkKeys(ctx, keys); err != nil {
		return err
	}
	if err := c.heedLedger(ctx, b, keys, out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "the backup of %s is in place: kluis serve\n", m.At.Format(time.RFC3339))
	return err
}

// readManifest reads the manifest of a backup, and compares every file with it.
func readManifest(folder string) (m manifest, err error) {
	text, err := os.ReadFile(filepath.Join(folder, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("there is no complete backup in %s: it has no %s", folder, manifestFile)
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil || m.Format != 1 || m.Files[dumpFile] == (entry{}) {
		return m, errors.Join(fmt.Errorf("this program cannot read %s in %s", manifestFile, folder), err)
	}
	for name, want := range m.Files {
		if !filepath.IsLocal(name) {
			return m, fmt.Errorf("the manifest names %q, which is outside of the backup", name)
		}
		got, err := sum(filepath.Join(folder, filepath.FromSlash(name)))
		if err != nil || got != want {
			return m, errors.Join(fmt.Errorf("%s was changed since the backup: nothing was put back", name), err)
		}
	}
	return m, nil
}

// putBack runs pg_restore in a database without Kluis. Errors about missing roles do not count, because the roles are made afterwards.
func (r restore) putBack(ctx context.Context, b *base, m manifest, out outputs) error {
	var there bool
	err := b.DB.Admin(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select to_regnamespace('kluis') is not null`).Scan(&there)
	})
	if err != nil {
		return err
	}
	if there {
		return errors.New("there is a Kluis in this database already: a backup goes into an empty one (a private Postgres: name another folder in KLUIS_DATA)")
	}
	program, err := pgserver.Client(ctx, "pg_restore", m.Postgres)
	if err != nil {
		return err
	}
	fmt.Fprintln(out.stderr, "restoring the database")
	err = runClient(ctx, program, b.ownerURL, "--no-owner", filepath.Join(r.Folder, dumpFile))
	var failed *clientError
	if !errors.As(err, &failed) {
		return err
	}
	for line := range strings.Lines(failed.said) {
		if strings.Contains(line, "error: ") && !noRole.MatchString(line) {
			return &clientError{program, line}
		}
	}
	return nil
}

var noRole = regexp.MustCompile(`role "[^"]+" does not exist`)

func (r restore) putBlobsBack(ctx context.Context, m manifest) error {
	store, err := r.blobStore(ctx, r.Data)
	if err != nil {
		return err
	}
	for name := range m.Files {
		key, is := strings.CutPrefix(name, blobFolder+"/")
		if !is {
			continue
		}
		err := store.Put(ctx, key, func(w io.Writer) error {
			file, err := os.Open(filepath.Join(r.Folder, filepath.FromSlash(name)))
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = io.Copy(w, file)
			return err
		})
		if err != nil {
			return fmt.Errorf("put back %s: %w", name, err)
		}
	}
	return nil
}

// compare checks that every log ends where the manifest says, and has all its events.
func (b *base) compare(ctx context.Context, m manifest) error {
	return b.DB.Own(ctx, "kluis", func(tx pgx.Tx) error {
		for _, w := range m.Workspaces {
			var position, events int64
			var last uuid.UUID
			schema := "ws_" + strings.ReplaceAll(w.ID.String(), "-", "")
			//sqlcheck:allow a name made of the workspace's id
			err := tx.QueryRow(ctx, `select position, last, pruned + (select count(*) from `+schema+`.event where event.position > pruned) from `+schema+`.head`).Scan(&position, &last, &events)
			if err != nil {
				return fmt.Errorf("workspace %q: %w", w.Slug, err)
			}
			if position != w.Position || last != w.Last || events != position {
				return fmt.Errorf("the log of %q ends at %d (event %s, %d events), but the manifest says at %d (event %s)", w.Slug, position, last, events, w.Position, w.Last)
			}
		}
		return nil
	})
}

// major is the major version of Postgres.
func (b *base) major(ctx context.Context) (major int, err error) {
	err = b.DB.Admin(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select current_setting('server_version_num')::int / 10000`).Scan(&major)
	})
	return major, err
}

// ownerMayDump gives the name of the owner's role, and lets that role call set_config, because pg_dump does so.
func (b *base) ownerMayDump(ctx context.Context) (owner string, err error) {
	err = b.DB.Admin(ctx, func(tx pgx.Tx) error {
		if owner, err = pg.Owner(ctx, tx); err != nil {
			return err
		}
		const function = "pg_catalog.set_config(text, text, boolean)"
		var may, mayGrant bool
		if err := tx.QueryRow(ctx, `select has_function_privilege($1, $2, 'EXECUTE'), has_function_privilege($2, 'EXECUTE WITH GRANT OPTION')`, owner, function).Scan(&may, &mayGrant); err != nil || may {
			return err
		}
		if !mayGrant {
			return fmt.Errorf("pg_dump calls set_config as the role %[1]s, which may not: as a superuser, GRANT EXECUTE ON FUNCTION %[2]s TO %[1]s", owner, function)
		}
		//sqlcheck:allow a constant and a quoted name
		_, err := tx.Exec(ctx, `grant execute on function `+function+` to `+pgx.Identifier{owner}.Sanitize())
		return err
	})
	return owner, err
}

// clientError is the error output of a client program of Postgres.
type clientError struct {
	program string
	said    string
}

func (e *clientError) Error() string {
	return fmt.Sprintf("%s: %s", filepath.Base(e.program), strings.TrimSpace(e.said))
}

// runClient runs a client program of Postgres on a database. The password goes through the environment, because everybody on the machine sees arguments.
func runClient(ctx context.Context, program, address string, args ...string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("the database's URL cannot be parsed") // the parser's error would show the password
	}
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	u.RawQuery = forLibpq(u.Query()).Encode()
	cmd := exec.CommandContext(ctx, program, append(args, "--dbname="+u.String())...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return errors.Join(&clientError{program, said.String()}, err)
	}
	return nil
}

// forLibpq removes the parameters of a URL that only our driver knows, because libpq refuses them.
func forLibpq(query url.Values) url.Values {
	for name := range query {
		if strings.HasPrefix(name, "pool_") || strings.HasSuffix(name, "_cache_capacity") || name == "default_query_exec_mode" {
			query.Del(name)
		}
	}
	return query
}
