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
	DatabaseURL string     `name:"database-url" env:"KLUIS_DATABASE_URL" placeholder:"URL" help:"A database login for Kluis; empty: a private Postgres in KLUIS_DATA."`
	OwnerURL    string     `name:"owner-url" env:"KLUIS_OWNER_URL" placeholder:"URL" help:"A second login, which makes roles and schemas, so that the login in KLUIS_DATABASE_URL need not; empty: that login makes them."`
	SetConfig   string     `name:"set-config" env:"KLUIS_SET_CONFIG" enum:"closed,warn,public" default:"warn" help:"What to do when everybody may call set_config in the database: closed refuses to start, warn says what to run, public accepts it (a managed Postgres may not allow to change it)."`
	Regions     string     `env:"KLUIS_REGIONS" default:"be=" placeholder:"NAME=URL,..." help:"Databases, each in a country of the European Economic Area, the home first: be=,de=postgres://...,de.blobs=s3://...; or the path of a file of such lines. A name is a country or a region of Amazon, Google or Microsoft; for any other name NAME.place gives the country. NAME.blobs, NAME.owner and NAME.checkpoints are for a region what KLUIS_BLOB_URL, KLUIS_OWNER_URL and KLUIS_CHECKPOINTS are for the home."`
	Region      string     `placeholder:"NAME" help:"The region of KLUIS_REGIONS that the command is about; default: all."`
	Data        string     `env:"KLUIS_DATA" default:"./data" help:"Folder of the private Postgres, the keys, the files, and the outgoing mails of a server without SMTP."`
	Keys        string     `env:"KLUIS_KEYS" placeholder:"FILE" help:"File of Fernet keys, one on a line; the first encrypts. Default: $$KLUIS_DATA/keys."`
	KeysInline  string     `name:"keys-inline" env:"KLUIS_KEYS_INLINE" placeholder:"KEYS" help:"The keys themselves, separated by commas, instead of the file."`
	home        string     // the first of the regions
	Log         slog.Level `env:"KLUIS_LOG" default:"info" help:"Level of the log (JSON lines on stderr): debug, info, warn or error."`
}

func (s settings) logger(stderr io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: s.Log}))
}

// keysFile is the path of the key file.
func (s settings) keysFile() string {
	if s.Keys != "" {
		return s.Keys
	}
	return filepath.Join(s.Data, "keys")
}

// loadRestoredKeys loads the keys for a backup that is put back. No backup has keys in it.
func (s settings) loadRestoredKeys() (*keyring.Keyring, error) {
	keys, err := keyring.Load(s.keysFile(), s.KeysInline)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no key file %s: put the copy of the keys there first: without the keys nothing that is encrypted can be read", s.keysFile())
	}
	return keys, err
}

// postgresFolder is the folder of the private Postgres.
func (s settings) postgresFolder() string { return filepath.Join(s.Data, "postgres") }

// firstKeys makes the key file before the first start of a private Postgres, when all settings of keys have their defaults. For a database that exists it
// makes none, because then the file was lost, and a new one would hide that.
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
	log.Info("made a first key: keep a copy of it elsewhere, because without it nothing that is encrypted can be read", "file", s.keysFile())
	return nil
}

// loadKeys loads the keyring, and makes it at a first start.
func (s settings) loadKeys(log *slog.Logger) (*keyring.Keyring, error) {
	if err := s.firstKeys(log); err != nil {
		return nil, err
	}
	keys, err := keyring.Load(s.keysFile(), s.KeysInline)
	if errors.Is(err, fs.ErrNotExist) && s.DatabaseURL == "" && s.Keys == "" {
		return nil, fmt.Errorf("KLUIS_KEYS: there is no file %s, and data in %s may be encrypted with its keys: put the file back from its copy, "+
			"or set KLUIS_KEYS to its path; only if nobody ever signed up here, make a new one with `kluis keys new`", s.keysFile(), s.postgresFolder())
	}
	return keys, err
}

// networks is a list of networks as CIDR.
type networks []string

// prefixes reads the networks of a setting.
func (n networks) prefixes(setting string) ([]netip.Prefix, error) {
	all := make([]netip.Prefix, len(n))
	for i, text := range n {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: %q is not a network such as 10.0.0.0/8", setting, text)}
		}
		all[i] = prefix.Masked()
	}
	return all, nil
}
