package projections

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Account is a member with the credentials for a log-in.
type Account struct {
	ID        uuid.UUID
	Status    string
	Email     domain.Personal
	FullName  domain.Personal
	Language  string
	Password  string // a PHC string; empty while the member has none
	TwoFactor string // the sealed secret of the second factor; empty while it is off
	LastStep  int64  // the time step of the last accepted code
}

const selectAccount = `select m.id, m.status, m.email, m.full_name, m.language, coalesce(c.password, '') as password,
		coalesce(f.secret, '') as two_factor, coalesce(f.last_step, 0) as last_step
	from member m left join credential c on c.member_id = m.id
	left join two_factor f on f.member_id = m.id and f.confirmed_at is not null where m.status <> 'removed' and `

// AccountByEmail finds the account with an address, by the keyed hash of the address, on a fresh roster; nil when there is none.
func (p *Projections) AccountByEmail(ctx context.Context, w pg.Workspace, hash string) (*Account, error) {
	return p.account(ctx, w, selectAccount+`m.id = (select member_id from member_email where hash = $1)`, hash)
}

// AccountByID finds the account of a member, on a fresh roster; nil when there is none.
func (p *Projections) AccountByID(ctx context.Context, w pg.Workspace, member uuid.UUID) (*Account, error) {
	return p.account(ctx, w, selectAccount+`m.id = $1`, member)
}

// Admins finds the accounts of the active admins.
func (p *Projections) Admins(ctx context.Context, w pg.Workspace) (admins []Account, err error) {
	_, err = p.freshRoster(ctx, w, pg.Rows(&admins, selectAccount+`m.role = 'admin' and m.status = 'active' order by m.id`))
	return admins, err
}

func (p *Projections) account(ctx context.Context, w pg.Workspace, sql string, key any) (*Account, error) {
	var rows []Account
	_, err := p.freshRoster(ctx, w, pg.Rows(&rows, sql, key))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}
