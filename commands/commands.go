package commands

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/delivery"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// Needs is everything that commands use.
type Needs struct {
	DB          *pg.DB
	Store       *eventstore.Store
	Projections *projections.Projections
	Tenancy     *tenancy.Tenancy
	Keys        *keyring.Keyring
	Vault       *vault.Vault
	Blobs       blob.Store // of the bytes of attachments
	Hasher      *password.Hasher
	Outbox      *mail.Outbox
	Limits      *limit.Limits // nil: nothing is limited
	Log         *slog.Logger
	Region      string            // where new workspaces live
	Outside     *delivery.Outside // which addresses receivers may have; nil: those of the public internet

	// Home gives the commands of the home's cell, which counts sign-ups; nil when this is the home's cell.
	Home func() (*Commands, error)

	// OnlyHere refuses a workspace that another region also has, or may have, after a restore of this region's database; nil when there is no
	// other region.
	OnlyHere func(ctx context.Context, w pg.Workspace) error

	// Kept is the place for signed checkpoints outside the database; nil: none. Without such a place nobody would notice that the log went back.
	Kept *checkpoint.Kept

	// Witnesses cosign checkpoints. CosignaturesWanted is how many cosignatures a checkpoint is to have; 0: one of each witness.
	Witnesses          []*checkpoint.Witness
	CosignaturesWanted int

	// PublicURL is where people reach Kluis. Mails and the names of logs have it, because the headers of a request can be forged. Empty: mails
	// have no links.
	PublicURL string

	// SecurityWindow is how long equal incidents are counted before the log tells of them again; 0: the log tells of no incidents.
	SecurityWindow time.Duration

	// Operator is the name of the organisation that runs Kluis, and Regions are where its data are. The documents that the law asks for have both.
	Operator string
	Regions  []Region

	// ErasureGrace is the time between the request to erase a workspace and the erasure; 0 is 72 hours.
	ErasureGrace time.Duration

	// ResetCodeLife is how long a code for a new password is valid; 0 is 15 minutes.
	ResetCodeLife time.Duration

	// Wall is the clock of this process. Pruning compares it with the clock of the database. nil is the real clock.
	Wall func() time.Time
}

// Commands carries out what members ask for.
type Commands struct {
	Needs
	now      func(context.Context) (time.Time, error) // the database's clock, by which everything ends
	running  sync.Map                                 // the idempotency keys of the commands under way in this process
	notes    queues                                   // events of accounts
	mails    later                                    // mails that an answer must not wait for
	signed   signedLogs
	printed  printed
	ledgered ledgered

	incidents incidents // for the security stream

	compared atomic.Int64 // how many passwords and codes were compared, for tests
}

// New makes commands.
func New(n Needs) *Commands {
	if n.ResetCodeLife == 0 {
		n.ResetCodeLife = codeLife
	}
	if n.ErasureGrace == 0 {
		n.ErasureGrace = erasureGrace
	}
	if n.Kept == nil {
		n.Kept = &checkpoint.Kept{}
	}
	if n.CosignaturesWanted == 0 {
		n.CosignaturesWanted = len(n.Witnesses)
	}
	if n.Outside == nil {
		n.Outside = delivery.NewOutside()
	}
	if n.Wall == nil {
		n.Wall = time.Now
	}
	c := &Commands{Needs: n}
	c.now = c.DB.Now
	c.ledgered.tries.Interval = ledgerPause
	c.notes.log, c.mails.log, c.incidents.soon.log = c.Log, c.Log, c.Log
	c.incidents.window, c.incidents.record = n.SecurityWindow, c.recordIncident
	return c
}
