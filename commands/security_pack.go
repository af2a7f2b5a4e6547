package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
)

// PackRequest is a request for documents about the operation of Kluis.
type PackRequest struct {
	Name, Email, Company string   // of the person who asks
	Documents            []string // of DocumentNames; empty: all
	Language             string   // empty: English
	From                 Origin
}

// asked is the person who asks, as it is stored, sealed.
type asked struct {
	Name    string `json:"name"`
	Email   string `json:"email"`
	Company string `json:"company"`
}

func packPurpose(id uuid.UUID) string { return "kluis/security-pack/" + id.String() }

// RequestPack mails documents to the person who asks for them, and stores the request. The mail has nothing that the person typed, so that nobody can use
// Kluis to send text to a stranger. An address over its limit gets no mail, and the answer does not tell.
func (c *Commands) RequestPack(ctx context.Context, r PackRequest) error {
	normal, err := checkEmail("/email", r.Email)
	if err == nil {
		err = domain.CheckName("/name", r.Name)
	}
	if err == nil {
		err = domain.CheckName("/company", r.Company)
	}
	if err == nil && r.Language != "" {
		err = domain.CheckLanguage("/language", r.Language)
	}
	if err != nil {
		return err
	}
	if err := c.Limits.Take(ctx, limit.Network(limit.SecurityPack, r.From.IP)...); err != nil {
		return tooMany(err)
	}
	err = c.Limits.Take(ctx, limit.Counter{Name: limit.SecurityPack, Subject: normal})
	if errors.As(err, new(*limit.ExceededError)) {
		return nil
	}
	if err != nil {
		return tooMany(err)
	}
	records, err := c.Records(ctx)
	if err != nil {
		return err
	}
	message := mail.Message{Template: "security_pack", To: r.Email, Language: r.Language, Values: map[string]string{"URL": c.PublicURL}}
	var names []string
	for _, name := range DocumentNames {
		if len(r.Documents) > 0 && !slices.Contains(r.Documents, name) {
			continue
		}
		pdf, err := c.PDF(records, name)
		if err != nil {
			return err
		}
		names = append(names, name)
		message.Files = append(message.Files, mail.File{Name: strings.ReplaceAll(name, "_", "-") + ".pdf", Media: "application/pdf", Content: pdf})
	}
	return c.keepPack(ctx, asked{r.Name, r.Email, r.Company}, names, message)
}

// packsKept is how long a request is stored.
const packsKept = 365 * 24 * time.Hour

func (c *Commands) keepPack(ctx context.Context, by asked, names []string, message mail.Message) error {
	id := uuid.Must(uuid.NewV7())
	plain, err := json.Marshal(by)
	if err != nil {
		return err
	}
	sealed, err := c.Keys.Seal(packPurpose(id), plain)
	if err != nil {
		return fmt.Errorf("seal a request for documents: %w", err)
	}
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from kluis.security_pack where id in (select id from kluis.security_pack
			where at < now() - make_interval(secs => $1) limit 100 for update skip locked)`, packsKept.Seconds()); err != nil {
			return fmt.Errorf("delete old requests for documents: %w", err)
		}
		if _, err := tx.Exec(ctx, `insert into kluis.security_pack (id, sealed, documents) values ($1, $2, $3)`, id, sealed, names); err != nil {
			return fmt.Errorf("store a request for documents: %w", err)
		}
		return c.Outbox.Enqueue(ctx, tx, message)
	})
	if errors.Is(err, mail.ErrRefused) {
		return domain.InvalidField("/email", "must be an address to which mail can be sent")
	}
	if err == nil {
		c.Log.InfoContext(ctx, "documents about the operation of Kluis were sent", "security_pack", id, "documents", strings.Join(names, " "))
	}
	return err
}

// Pack is a request for documents, as the operator of Kluis sees it.
type Pack struct {
	At                   time.Time
	Name, Email, Company string
	Documents            []string
}

// Packs gives the stored requests, the newest first.
func (c *Commands) Packs(ctx context.Context) (packs []Pack, err error) {
	type row struct {
		ID        uuid.UUID
		Sealed    string
		Documents []string
		At        time.Time
	}
	var rows []row
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		found, err := tx.Query(ctx, `select id, sealed, documents, at from kluis.security_pack order by at desc`)
		if err == nil {
			rows, err = pgx.CollectRows(found, pgx.RowToStructByName[row])
		}
		return err
	})
	for _, r := range rows {
		plain, err := c.Keys.Open(packPurpose(r.ID), r.Sealed)
		var by asked
		if err == nil {
			err = json.Unmarshal(plain, &by)
		}
		if err != nil {
			return nil, fmt.Errorf("open the request for documents %s: %w", r.ID, err)
		}
		packs = append(packs, Pack{r.At, by.Name, by.Email, by.Company, r.Documents})
	}
	return packs, err
}
