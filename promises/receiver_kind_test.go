package promises

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kluis-eu/kluis/eventstore"
)

// A SIEM gets lines of JSON, many a request, with what it is to be shown.
func TestSIEMOverHTTPS(t *testing.T) {
	t.Parallel()
	ada := receiving(t, 1)[0].signUp(t)
	h := newHook(t)
	ada.site.secret("Splunk a-token-of-mine")
	for range 30 {
		ada.newTask(t)
	}
	last := ada.head(t)
	r := ada.newReceiver(t, h, object{"kind": "siem_https", "credentials": "Splunk a-token-of-mine", "from": 1})
	if r.Secret != "" {
		t.Error("a SIEM is not signed for")
	}
	taken := positionsOf(h.upTo(t, last))
	for i, position := range taken {
		if position != int64(i+1) {
			t.Fatalf("taken %v", taken)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, head := range h.heads {
		if head.Get("Authorization") != "Splunk a-token-of-mine" || head.Get("Content-Type") != "application/x-ndjson" || head.Get("Kluis-Workspace") != ada.workspace.ID.String() {
			t.Errorf("headers %v", head)
		}
	}
	if len(h.bodies) > int(last)/3 {
		t.Errorf("%d requests for %d events", len(h.bodies), last)
	}
}

// listener is a syslog listener over TLS.
type listener struct {
	net.Listener
	mu       sync.Mutex
	messages []string
}

func listen(t *testing.T, config *tls.Config) *listener {
	t.Helper()
	l := &listener{Listener: must(tls.Listen("tcp", "127.0.0.1:0", config))}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go l.read(conn)
		}
	}()
	return l
}

// read reads frames of RFC 5425 until the sender ends.
func (l *listener) read(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		size, err := in.ReadString(' ')
		if err != nil {
			return
		}
		message := make([]byte, must(strconv.Atoi(strings.TrimSpace(size))))
		if _, err := io.ReadFull(in, message); err != nil {
			return
		}
		l.mu.Lock()
		l.messages = append(l.messages, string(message))
		l.mu.Unlock()
	}
}

var syslogMessage = regexp.MustCompile(`^<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z - kluis ([0-9a-f-]{36}) ([a-z_.]{1,32}) - (\{.*\})$`)

// A syslog listener gets each event in a frame of its own, as RFC 5424 has messages.
func TestSIEMOverSyslog(t *testing.T) {
	t.Parallel()
	ada := receiving(t, 1)[0].signUp(t)
	h := newHook(t) // for its certificate
	l := listen(t, &tls.Config{Certificates: h.TLS.Certificates})
	ada.newTask(t)
	ada.newReceiver(t, h, object{"kind": "siem_syslog", "url": "tls://" + l.Addr().String(), "from": 1})
	ada.newTask(t)
	log := ada.log(t)
	var got []string
	for end := time.Now().Add(patience); len(got) < len(log) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		got = slices.Clone(l.messages)
		l.mu.Unlock()
	}
	if len(got) != len(log) {
		t.Fatalf("%d messages of %d", len(got), len(log))
	}
	for i, message := range got {
		parts := syslogMessage.FindStringSubmatch(message)
		if len(parts) < 4 || parts[1] != ada.workspace.ID.String() || parts[2] != log[i].Type || parts[3] != string(log[i].AppendLine(nil)) {
			t.Errorf("message %d: %s", i, message)
		}
	}
}

// A stream of JetStream gets each event once, under a subject that its type is part of.
func TestNATS(t *testing.T) {
	t.Parallel()
	server := must(natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), Username: "kluis", Password: "nats-password-1", NoSigs: true, NoLog: true}))
	server.Start()
	t.Cleanup(server.Shutdown)
	if !server.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	conn := must(nats.Connect(server.ClientURL(), nats.UserInfo("kluis", "nats-password-1")))
	t.Cleanup(conn.Close)
	js := must(conn.JetStream())
	must(js.AddStream(&nats.StreamConfig{Name: "kluis", Subjects: []string{"kluis.acme.>"}, Duplicates: time.Minute}))

	ada := receiving(t, 1)[0].signUp(t)
	ada.site.secret("nats-password-1")
	h := newHook(t)
	url := strings.Replace(server.ClientURL(), "nats://0.0.0.0", "nats://127.0.0.1", 1)
	r := ada.newReceiver(t, h, object{"kind": "nats", "url": url, "ca": "", "subject": "kluis.acme", "credentials": "kluis:nats-password-1", "types": []string{"task.*"}, "from": 1})
	var want []string
	for range 10 {
		ada.newTask(t)
	}
	for _, record := range ada.log(t) {
		if strings.HasPrefix(record.Type, "task.") {
			want = append(want, "kluis.acme."+record.Type+" "+string(record.AppendLine(nil)))
		}
	}
	state := ada.awaitReceiver(t, r, "at the head", func(r receiverState) bool { return r.Delivery.Lag == 0 || r.Delivery.Failures > 0 })
	if state.Delivery.Failures > 0 {
		t.Fatalf("failing: %+v", state.Delivery)
	}
	ada.call(t, "POST", receiverPath(r, "replay"), object{"from": 1}).want(t, 200)
	ada.awaitReceiver(t, r, "once more", func(r receiverState) bool { return r.Delivery.Delivered == int64(2*len(want)) })
	subscription := must(js.SubscribeSync("kluis.acme.>", nats.DeliverAll()))
	var got []string
	for {
		message, err := subscription.NextMsg(time.Second)
		if err != nil {
			break
		}
		got = append(got, message.Subject+" "+string(message.Data))
	}
	if !slices.Equal(got, want) { // what came twice was dropped by its id
		t.Errorf("the stream has %d messages, want %d: %v", len(got), len(want), got)
	}
	ada.call(t, "PATCH", receiverPath(r), object{"credentials": "kluis:wrong"}).want(t, 200)
	ada.receiver(t, r) // the read models have the change from here on
	ada.newTask(t)
	state = ada.awaitReceiver(t, r, "refused", func(r receiverState) bool { return r.Delivery.Failures > 0 })
	if state.Delivery.Error != "it refused the credentials" {
		t.Errorf("the error is %q", state.Delivery.Error)
	}
}

// For the overlap two secrets sign; then the new one alone. No secret is stored in clear anywhere.
func TestReceiverSecrets(t *testing.T) {
	t.Parallel()
	p := receiving(t, 1)[0]
	ada := p.signUp(t)
	h := newHook(t)
	r := ada.newReceiver(t, h, object{"types": []string{"task.created"}})
	siem := ada.newReceiver(t, h, object{"kind": "siem_https", "credentials": "Bearer MARKER-credentials", "types": []string{"tag.*"}})
	ada.call(t, "POST", receiverPath(siem, "rotate-secret"), object{}).problem(t, 409, "receiver_unsigned")
	elsewhere := newHook(t) // to which the credentials of the first place are not shown
	ada.call(t, "PATCH", receiverPath(siem), object{"url": elsewhere.URL, "ca": elsewhere.ca}).refusedAs(t, "another host", 422, "/credentials")
	ada.call(t, "PATCH", receiverPath(siem), object{"url": h.URL + "/path"}).want(t, 200)
	ada.call(t, "PATCH", receiverPath(siem), object{"url": elsewhere.URL, "ca": elsewhere.ca, "credentials": "Bearer MARKER-credentials"}).want(t, 200)
	ada.call(t, "PATCH", receiverPath(r), object{"url": h.URL + "/path"}).want(t, 200)
	accepts := func(secret string) bool {
		position := ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t)
		h.upTo(t, position)
		h.mu.Lock()
		defer h.mu.Unlock()
		return must(standardwebhooks.NewWebhook(secret)).Verify(h.bodies[len(h.bodies)-1], h.heads[len(h.heads)-1]) == nil
	}
	again := decode[receiverState](t, ada.call(t, "POST", receiverPath(r, "rotate-secret"), object{"overlap_hours": 1}).want(t, 200))
	ada.site.secret(again.Secret)
	ada.awaitReceiver(t, r, "rotated", func(r receiverState) bool { return r.SecretNo == 2 })
	if again.Secret == r.Secret || !accepts(r.Secret) || !accepts(again.Secret) {
		t.Error("in the overlap both secrets sign")
	}
	third := decode[receiverState](t, ada.call(t, "POST", receiverPath(r, "rotate-secret"), object{"overlap_hours": 0}).want(t, 200))
	ada.site.secret(third.Secret)
	ada.awaitReceiver(t, r, "rotated", func(r receiverState) bool { return r.SecretNo == 3 })
	if accepts(again.Secret) || !accepts(third.Secret) || accepts(r.Secret) {
		t.Error("without an overlap the new secret alone signs")
	}
	_, rows := rowsOf(t, p.site.url)
	everything := rows + p.log.String()
	for _, secret := range []string{r.Secret, again.Secret, third.Secret, "MARKER-credentials"} {
		if strings.Contains(everything, strings.TrimPrefix(secret, "whsec_")) {
			t.Errorf("%s is somewhere in clear", secret)
		}
	}
	for _, record := range ada.log(t) {
		if line := string(record.AppendLine(nil)); strings.Contains(line, "whsec") || strings.Contains(line, "MARKER") {
			t.Errorf("a secret is in the log: %s", line)
		}
	}

	// Names are sealed, unless the receiver wants them opened; then they are as an admin reads them.
	bob := ada.invite(t, "member")
	for opened, want := range map[bool]bool{false: false, true: true} {
		to := newHook(t)
		ada.newReceiver(t, to, object{"types": []string{"member.invited"}, "from": 1, "opened": opened})
		taken := to.until(t, "the invitation", func(taken []eventstore.Record) bool { return len(taken) > 0 })
		if got := strings.Contains(string(taken[0].Data), bob.name); got != want {
			t.Errorf("opened %v: %s", opened, taken[0].Data)
		}
	}
}
