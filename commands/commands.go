package commands

import (
	"log/slog"
	"sync"
	"time"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// Needs is what commands stand on.
type Needs struct {
	DB      *pg.DB
	Store   *eventstore.Store
	Views   *projections.Projections
	Tenancy *tenancy.Tenancy
	Keys    *keyring.Keyring
	Vault   *vault.Vault
	Hasher  *password.Hasher
	Outbox  *mail.Outbox
	Log     *slog.Logger
	Region  string // where new workspaces live
}

// Commands carries out what members ask for.
type Commands struct {
	Needs
	now     func() time.Time
	running sync.Map // the idempotency keys of the commands under way in this process
}

// New makes commands.
func New(n Needs) *Commands { return &Commands{Needs: n, now: time.Now} }
