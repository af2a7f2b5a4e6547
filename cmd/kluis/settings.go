package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pgserver"
)

// settings are shared by all commands that open the database.
type settings struct {
	DatabaseURL string     `name:"database-url" env:"KLUIS_DATABASE_URL" placeholder:"URL" help:"A login made for Kluis; empty means a private Postgres in KLUIS_DATA."`
	OwnerURL    string     `name:"owner-url" env:"KLUIS_OWNER_URL" placeholder:"URL" help:"A login of its own that makes roles and schemas, so that the one in KLUIS_DATABASE_URL need not; empty means that it does."`
	SetConfig   string     `name:"set-config" env:"KLUIS_SET_CONFIG" enum:"closed,warn,public" default:"warn" help:"When everybody may call set_config in the database: closed refuses to start, warn says what to run, public says that one knows (a managed Postgres may not allow it)."`
	Regions     string     `env:"KLUIS_REGIONS" default:"be=" placeholder:"NAME=URL,..." help:"Databases, each in a country of the European Economic Area, the home first: be=,de=postgres://...,de.blobs=s3://...; or the path of a file of such lines. A name is a country or a region of Amazon, Google or Microsoft; else NAME.place says where it is. NAME.blobs, NAME.owner and NAME.checkpoints are as KLUIS_BLOB_URL, KLUIS_OWNER_URL and KLUIS_CHECKPOINTS, which are the home's."`
	Region      string     `placeholder:"NAME" help:"The one of KLUIS_REGIONS that the command is about; all of them when left out."`
	Data        string     `env:"KLUIS_DATA" default:"./data" help:"Folder of the private Postgres, keys, blobs, and outgoing mail of a first start."`
	Keys        string     `env:"KLUIS_KEYS" placeholder:"FILE" help:"File of Fernet keys, one a line, the first encrypts; default $$KLUIS_DATA/keys."`
	KeysInline  string     `name:"keys-inline" env:"KLUIS_KEYS_INLINE" placeholder:"KEYS" help:"The keys themselves, comma separated, instead of the file."`
	home        string     // the first of the regions
	Log         slog.Level `env:"KLUIS_LOG" default:"info" help:"Level of the log: debug, info, warn or error. It is JSON lines on stderr."`
}

func (s settings) logger(stderr io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: s.Log}))
}

// keysFile is where the keys are when they are in a file.
func (s settings) keysFile() string {
	if s.Keys != "" {
		return s.Keys
	}
	return filepath.Join(s.Data, "keys")
}

// loadRestoredKeys loads the keys of a backup, which are not in it.
func (s settings) loadRestoredKeys() (*keyring.Keyring, error) {
	keys, err := keyring.Load(s.keysFile(), s.KeysInline)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no key file %s: put the copy of the keys there first, without which nothing sealed can be read", s.keysFile())
	}
	return keys, err
}

// postgresFolder is where the private Postgres is.
func (s settings) postgresFolder() string { return filepath.Join(s.Data, "postgres") }

// firstKeys makes the key file before the first start of a private Postgres, with everything at its default. Beside a
// database that is there already it makes none: the file was lost then, and a new one would only hide that.
func (s settings) firstKeys(log *slog.Logger) error {
	if s.DatabaseURL != "" || s.Keys != "" || s.KeysInline != "" || pgserver.Made(s.postgresFolder()) {
		return nil
	}
	err := keyring.Create(s.keysFile())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the keys of a first start: %w", err)
	}
	log.Info("made a first key: keep a copy of it elsewhere, without it nothing sealed can be read", "file", s.keysFile())
	return nil
}

// loadKeys loads the keyring; on a first start it makes it.
func (s settings) loadKeys(log *slog.Logger) (*keyring.Keyring, error) {
	if err := s.firstKeys(log); err != nil {
		return nil, err
	}
	keys, err := keyring.Load(s.keysFile(), s.KeysInline)
	if errors.Is(err, fs.ErrNotExist) && s.DatabaseURL == "" && s.Keys == "" {
		return nil, fmt.Errorf("KLUIS_KEYS: there is no file %s, and what is in %s may be sealed with its keys: put the file back from its copy, "+
			"or name where it is; only if nobody ever signed up here, make a new one with `kluis keys new`", s.keysFile(), s.postgresFolder())
	}
	return keys, err
}

// networks are given as CIDR.
type networks []string

// prefixes reads the networks of a setting.
func (n networks) prefixes(setting string) ([]netip.Prefix, error) {
	all := make([]netip.Prefix, len(n))
	for i, text := range n {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: %q is no network such as 10.0.0.0/8", setting, text)}
		}
		all[i] = prefix.Masked()
	}
	return all, nil
}
