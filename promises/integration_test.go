package promises

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

func (c *client) secrets(t tester) (n int) {
	t.Helper()
	if err := c.db.Read(context.Background(), c.workspace, pg.Exec(`select count(*) from integration_secret`).Scan(&n)); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestIntegrations(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	wish := object{"provider": "github", "name": "Repositories", "access_token": "gho_Secret1", "refresh_token": "ghr_Secret2",
		"expires_at": "2030-01-02T03:04:05+02:00", "scopes": []string{"repo", "read:user"}}
	ada.site.secret("gho_Secret1", "ghr_Secret2")
	a := ada.call(t, "POST", "/api/integrations", wish, "Idempotency-Key: one").want(t, 201)
	made := decode[domain.Integration](t, a)
	if made.Provider != "github" || made.Name != "Repositories" || len(made.Scopes) != 2 || made.ExpiresAt.UTC().Hour() != 1 || made.CreatedBy != ada.id {
		t.Errorf("made %+v", made)
	}
	again := ada.on(p[1]).call(t, "POST", "/api/integrations", wish, "Idempotency-Key: one").want(t, 201)
	if !bytes.Equal(again.body, a.body) || ada.secrets(t) != 1 {
		t.Errorf("the same again: %s, %d secrets", again.body, ada.secrets(t))
	}
	wish["access_token"] = "gho_Other"
	ada.call(t, "POST", "/api/integrations", wish, "Idempotency-Key: one").problem(t, 422, "idempotency_key_reused")
	if got, err := p[1].commands.IntegrationSecrets(t.Context(), ada.workspace, made.ID); err != nil || got.Access != "gho_Secret1" || got.Refresh != "ghr_Secret2" {
		t.Errorf("opened %+v, %v", got, err)
	}

	listed := ada.on(p[1]).call(t, "GET", "/api/integrations", nil).want(t, 200)
	if items := decode[list[domain.Integration]](t, listed).Items; len(items) != 1 || items[0].ID != made.ID {
		t.Errorf("listed %s", listed.body)
	}
	for _, body := range [][]byte{a.body, listed.body} {
		if bytes.Contains(body, []byte("Secret")) || bytes.Contains(body, []byte("gAAAA")) || bytes.Contains(body, []byte("_token")) {
			t.Errorf("a token is answered: %s", body)
		}
	}
	path := "/api/integrations/" + made.ID.String()
	for role, status := range map[string][3]int{"manager": {200, 403, 403}, "member": {403, 403, 403}, "auditor": {403, 403, 403}} {
		bob := ada.member(t, role)
		for i, a := range []reply{bob.call(t, "GET", "/api/integrations", nil), bob.call(t, "POST", "/api/integrations", wish), bob.call(t, "DELETE", path, nil)} {
			a.want(t, status[i])
		}
	}
	p[0].signUp(t).call(t, "DELETE", path, nil).problem(t, 404, "integration_not_found")
	ada.call(t, "DELETE", "/api/integrations/"+uuid.NewString(), nil).problem(t, 404, "integration_not_found")
	ada.call(t, "DELETE", path, nil, `If-Match: "7"`).problem(t, 412, "stale")
	if ada.secrets(t) != 1 {
		t.Error("a refused command destroyed the tokens")
	}
	ada.call(t, "DELETE", path, nil).want(t, 204)
	if ada.secrets(t) != 0 {
		t.Error("the tokens are still there")
	}
	ada.on(p[1]).call(t, "DELETE", path, nil).problem(t, 404, "integration_not_found")
	if items := decode[list[domain.Integration]](t, ada.call(t, "GET", "/api/integrations", nil)).Items; len(items) != 0 {
		t.Errorf("listed %v", items)
	}
	for _, r := range ada.log(t) {
		if line := r.AppendLine(nil); bytes.Contains(line, []byte("Secret")) || bytes.Contains(r.Data, []byte("gAAAA")) && r.Stream != "roster" {
			t.Errorf("a token is in the log: %s", line)
		}
	}
	ada.noDrift(t)
}

// Tokens whose integration never came to be go with time; those of an integration stay, read model or not.
func TestOrphanedSecrets(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	wish := object{"provider": "x", "name": "x", "access_token": "x"}
	one := decode[domain.Integration](t, ada.call(t, "POST", "/api/integrations", wish).want(t, 201)) // not in the read model
	if err := p.db.Do(t.Context(), ada.workspace,
		pg.Exec(`insert into integration_secret (integration_id, access_token) values ($1, 'x'), ($2, 'x')`, uuid.New(), uuid.New()),
		pg.Exec(`update integration_secret set created_at = now() - interval '2 days'`)); err != nil {
		t.Fatal(err)
	}
	ada.call(t, "POST", "/api/integrations", wish).want(t, 201)
	if n := ada.secrets(t); n != 2 {
		t.Errorf("%d secrets, want those of the two integrations", n)
	}
	if _, err := p.commands.IntegrationSecrets(t.Context(), ada.workspace, one.ID); err != nil {
		t.Error(err)
	}
}
