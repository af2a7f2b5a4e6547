package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// Origin is where a request came from. The address and the program are personal data, so the records of the request have them sealed: under the data key
// of the actor; without an actor, under the key of the member whose account the request named; for no member's account, under the key of the workspace.
// The id of a token is stored in clear.
type Origin struct {
	IP        netip.Addr // invalid when the peer has no address (a Unix socket)
	UserAgent string     // empty when the client sent none
	Token     uuid.UUID  // the API token of the request; uuid.Nil for a session
}

// The fields under which an origin is sealed. Each is part of the sealed value.
const (
	ipField    = "meta.ip"
	agentField = "meta.user_agent"
)

// sealedOrigin is the format of an origin in a record. Stored records have it, so it never changes.
type sealedOrigin struct {
	IP        string    `json:"ip,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
	TokenID   uuid.UUID `json:"token_id,omitzero"`
}

// sealOrigin makes the metadata of records, sealed under the data key of a subject: a member, or the workspace. An erased subject has no metadata.
func (c *Commands) sealOrigin(ctx context.Context, w pg.Workspace, member uuid.UUID, o Origin) (json.RawMessage, error) {
	if o == (Origin{}) {
		return nil, nil
	}
	key, err := c.Vault.Key(ctx, w, member)
	if errors.Is(err, vault.ErrErased) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return o.seal(key)
}

// metaSubject gives the subject under whose data key the metadata of a record is sealed.
func metaSubject(w pg.Workspace, r projections.Record) (subject uuid.UUID) {
	if r.Actor != nil {
		return *r.Actor
	}
	if r.Stream == domain.SecurityStream {
		return w.ID
	}
	account, _ := domain.StreamID("account", r.Stream)
	return account
}

// seal is sealOrigin with a key at hand.
func (o Origin) seal(key vault.Key) (json.RawMessage, error) {
	m := sealedOrigin{TokenID: o.Token}
	var err error
	if o.IP.IsValid() {
		if m.IP, err = key.Seal(ipField, o.IP.String()); err != nil {
			return nil, err
		}
	}
	if o.UserAgent != "" {
		if m.UserAgent, err = key.Seal(agentField, o.UserAgent); err != nil {
			return nil, err
		}
	}
	if m == (sealedOrigin{}) {
		return nil, nil
	}
	return json.Marshal(m)
}

// OpenOrigins opens the metadata of records, for a reader of the log: one Origin for each record. The metadata of erased subjects is left out, and so is
// metadata that does not open, which is logged.
func (c *Commands) OpenOrigins(ctx context.Context, w pg.Workspace, records []projections.Record) ([]Origin, error) {
	subjects := make([]uuid.UUID, len(records))
	for i, r := range records {
		subjects[i] = metaSubject(w, r)
	}
	keys, err := c.Vault.Keys(ctx, w, unique(subjects))
	if err != nil {
		return nil, err
	}
	origins := make([]Origin, len(records))
	for i, r := range records {
		if r.Meta == nil {
			continue
		}
		if origins[i], err = openMeta(keys, subjects[i], r.Meta); err != nil {
			c.Log.ErrorContext(ctx, "the metadata of a record does not open", "workspace", w.ID, "position", r.Position, "error", err.Error())
		}
	}
	return origins, nil
}

func openMeta(keys map[uuid.UUID]vault.Key, subject uuid.UUID, sealed json.RawMessage) (o Origin, err error) {
	var m sealedOrigin
	if json.Unmarshal(sealed, &m) != nil {
		return o, errors.New("it has another format")
	}
	o.Token = m.TokenID
	key, there := keys[subject]
	if !there { // the subject was erased
		return o, nil
	}
	if m.IP != "" {
		text, err := key.Open(ipField, m.IP)
		if err != nil {
			return o, fmt.Errorf("ip: %w", err)
		}
		if o.IP, err = netip.ParseAddr(text); err != nil {
			return o, errors.New("ip: it is no address")
		}
	}
	if m.UserAgent != "" {
		if o.UserAgent, err = key.Open(agentField, m.UserAgent); err != nil {
			return o, fmt.Errorf("user_agent: %w", err)
		}
	}
	return o, nil
}
