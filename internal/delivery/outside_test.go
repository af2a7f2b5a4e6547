package delivery

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Nothing but the public internet is reached, in whatever dress an address comes.
func TestPermitted(t *testing.T) {
	t.Parallel()
	o := NewOutside(netip.MustParsePrefix("10.7.0.0/16"))
	for text, want := range map[string]bool{
		"1.1.1.1": true, "8.8.8.8": true, "2606:4700:4700::1111": true, "2a00:1450:4007::1": true,
		"10.7.1.2": true, "::ffff:10.7.1.2": true, // the operator's
		"10.8.1.2": false, "127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "0.1.2.3": false, "169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "100.64.0.1": false, "100.127.255.255": false, "192.0.0.8": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.7": false,
		"203.0.113.7": false, "224.0.0.1": false, "239.1.1.1": false, "240.0.0.1": false, "255.255.255.255": false, "192.88.99.1": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:192.168.1.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false,
		"64:ff9b:1::a00:1": false, "2002:7f00:1::": false, "2001:0:1::": false, "2001:db8::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false,
		"fc00::1": false, "fd12::1": false, "ff02::1": false, "100::1": false, "5f00::1": false, "3fff::1": false,
	} {
		if got := o.permitted(netip.MustParseAddr(text), true); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if o.permitted(netip.MustParseAddr("1.1.1.1"), false) || !o.permitted(netip.MustParseAddr("10.7.1.2"), false) {
		t.Error("what is not encrypted goes to the operator's networks alone")
	}
}

// A name that leads elsewhere at the second look-up leads nowhere: each connection is to the address that was judged for it.
func TestRebinding(t *testing.T) {
	t.Parallel()
	var asked, inside atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Connection", "close") // so that each request looks the name up
	}))
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("no 127.0.0.2 here:", err)
	}
	server.Listener = listener
	server.Start()
	defer server.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	other, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Skip(err)
	}
	defer other.Close()
	go func() {
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			inside.Add(1)
			conn.Close()
		}
	}()
	looked := 0
	o := NewOutside(netip.MustParsePrefix("127.0.0.2/32")).LookingUp(func(context.Context, string) ([]netip.Addr, error) {
		looked++
		if looked == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
	sender, err := o.Open(Target{Kind: "webhook", URL: "http://rebind.example:" + port + "/", Secrets: [][]byte{{1}}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	events := []Event{{ID: "1", Line: []byte("{}")}}
	if n, err := sender.Send(t.Context(), events); n != 1 || err != nil || looked != 1 {
		t.Errorf("the first: %d, %v, %d look-ups", n, err, looked)
	}
	if n, err := sender.Send(t.Context(), events); n != 0 || !errors.Is(err, errForbidden) || looked != 2 {
		t.Errorf("the second: %d, %v, %d look-ups", n, err, looked)
	}
	if asked.Load() != 1 || inside.Load() != 0 {
		t.Errorf("%d requests outside, %d connections inside", asked.Load(), inside.Load())
	}
}

// Proxies of the environment are not asked, cookies are not kept, and nothing that a receiver sends fills the memory.
func TestAnswersOfReceivers(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	var cookies atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) { // 1 GB, if somebody read it
		chunk := make([]byte, 1<<20)
		for range 1 << 10 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
		t.Error("all of a huge answer was read")
	})
	mux.HandleFunc("/heads", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Huge", strings.Repeat("x", 1<<20)) })
	mux.HandleFunc("/cookie", func(w http.ResponseWriter, r *http.Request) {
		cookies.Add(int64(len(r.Cookies())))
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b", Path: "/"})
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	mux.HandleFunc("/later", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice when its client leaves
		mux.ServeHTTP(w, r)
	}))
	defer server.Close()
	o := NewOutside(netip.MustParsePrefix("127.0.0.0/8")).Within(500 * time.Millisecond)
	for path, says := range map[string]string{
		"/redirect": "it answered 307: redirects are not followed", "/huge": "", "/heads": "its answer makes no sense", "/cookie": "", "/hang": "it did not take it within",
		"/drip": "it did not take it within", "/gone": "it answered 410", "/later": "it answered 503",
	} {
		sender, err := o.Open(Target{Kind: "webhook", URL: server.URL + path + "?secret=in-the-url", Secrets: [][]byte{{1}}, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		var n int
		for range 2 {
			n, err = sender.Send(t.Context(), []Event{{ID: "1", Line: []byte("{}")}})
		}
		sender.Close()
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s took %s", path, took)
		}
		switch {
		case says == "" && (err != nil || n != 1):
			t.Errorf("%s: %d, %v", path, n, err)
		case says != "" && (err == nil || !strings.HasPrefix(Explain(err), says)):
			t.Errorf("%s: %d, %v", path, n, err)
		}
		if err != nil && strings.Contains(Explain(err)+err.Error(), "secret") {
			t.Errorf("%s tells the URL: %v", path, err)
		}
		if path == "/gone" != Gone(err) || path == "/later" != (RetryAfter(err) == 90*time.Second) {
			t.Errorf("%s: gone %v, again after %s", path, Gone(err), RetryAfter(err))
		}
	}
	if elsewhere.Load() != 0 || cookies.Load() != 0 {
		t.Errorf("%d requests followed a redirect, %d cookies were kept", elsewhere.Load(), cookies.Load())
	}
}

// A message is dated by the clock that the sender was given, whatever that of this machine says.
func TestDated(t *testing.T) {
	t.Parallel()
	stamps := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stamps <- r.Header.Get("webhook-timestamp") }))
	defer server.Close()
	then := time.Now().AddDate(-1, 0, 0)
	sender, err := NewOutside(netip.MustParsePrefix("127.0.0.0/8")).Open(Target{Kind: "webhook", URL: server.URL, Secrets: [][]byte{{1}}, Now: then})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if _, err := sender.Send(t.Context(), []Event{{ID: "1", Line: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseInt(<-stamps, 10, 64)
	if at := time.Unix(seconds, 0); err != nil || at.Before(then.Truncate(time.Second)) || at.After(then.AddDate(0, 6, 0)) {
		t.Errorf("dated %v, want about %v: %v", at, then, err)
	}
}

// A certificate that nobody vouches for, or that is another's, is refused.
func TestCertificates(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer server.Close()
	server.Config.ErrorLog = nil
	sender, err := NewOutside(netip.MustParsePrefix("127.0.0.0/8")).Open(Target{Kind: "webhook", URL: server.URL, Secrets: [][]byte{{1}}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if _, err := sender.Send(t.Context(), []Event{{ID: "1", Line: []byte("{}")}}); err == nil || Explain(err) != "its certificate is not trusted" {
		t.Errorf("%v", err)
	}
}

// Loopback is refused in every form that a resolver may read as an address.
func TestOddForms(t *testing.T) {
	t.Parallel()
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	go func() {
		if conn, err := inside.Accept(); err == nil {
			t.Errorf("a connection came from %s", conn.RemoteAddr())
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(inside.Addr().String())
	for _, host := range strings.Fields("127.0.0.1 127.0.0.1. 127.1 127.0.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001 0 0.0.0.0 [::] [::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::127.0.0.1] localhost localhost. ip6-localhost") {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			sender, err := NewOutside().Within(3 * time.Second).Open(Target{Kind: "webhook", URL: "https://" + host + ":" + port, Secrets: [][]byte{{1}}, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			defer sender.Close()
			if n, err := sender.Send(t.Context(), []Event{{ID: "1", Line: []byte("{}")}}); n != 0 || err == nil {
				t.Errorf("%d events were taken, %v", n, err)
			}
		})
	}
}
