package delivery

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// hostile listens, and answers each connection as it likes.
func hostile(t *testing.T, answer func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); answer(conn) }()
		}
	}()
	return listener.Addr().String()
}

// sent sends one event, and says what an admin reads about that: empty when it was taken.
func sent(t *testing.T, target Target, patience time.Duration) (says string) {
	t.Helper()
	target.Now, target.Subject = time.Now(), "kluis"
	here := netip.MustParseAddr("127.0.0.1")
	out := NewOutside(netip.PrefixFrom(here, 32)).Within(patience).LookingUp(func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{here}, nil })
	sender, err := out.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	begun := time.Now()
	taken, err := sender.Send(t.Context(), []Event{{ID: "1", Type: "task.created", Line: []byte("{}")}})
	if took := time.Since(begun); took > patience+10*time.Second {
		t.Errorf("it took %s", took)
	}
	if (taken == 1) != (err == nil) {
		t.Errorf("%d events were taken, and %v", taken, err)
	}
	if err != nil {
		return Explain(err)
	}
	return ""
}

// Whatever a webhook answers, an attempt ends in time, and an admin reads why.
func TestHostileWebhook(t *testing.T) {
	t.Parallel()
	const late = "it did not take it within 15s"
	const senseless = "its answer makes no sense"
	forever := func(text string) func(io.Writer) {
		return func(to io.Writer) {
			many := []byte(strings.Repeat(text, 1+4096/len(text)))
			for range 64 << 20 / len(many) {
				if _, err := to.Write(many); err != nil {
					return
				}
			}
		}
	}
	dripping := func(text string) func(io.Writer) {
		return func(to io.Writer) {
			for i := 0; ; i++ {
				if _, err := to.Write([]byte{text[i%len(text)]}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
	silent := func(io.Writer) { time.Sleep(20 * time.Second) }
	for name, c := range map[string]struct {
		begin string
		then  func(io.Writer)
		says  string
	}{
		"nothing":                   {"", silent, late},
		"another protocol, and off": {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", silent, "it answered 101, not 2xx"},
		"headers byte by byte":      {"HTTP/1.1 200 OK\r\n", dripping("X: y\r\n"), late},
		"headers without end":       {"HTTP/1.1 200 OK\r\n", forever("X: y\r\n"), senseless},
		"one header without end":    {"HTTP/1.1 200 OK\r\nX: ", forever("y"), senseless},
		"body byte by byte":         {"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n", dripping("x"), late},
		"body without end":          {"HTTP/1.1 200 OK\r\n\r\n", forever("x"), ""},
		"packed body without end":   {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", forever("\x1f\x8b\x08"), ""},
		"chunk without end":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", forever("x"), senseless},
		"many tiny chunks":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", forever("1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n"), senseless},
		"trailers without end":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", forever("X: y\r\n"), senseless},
		"early hints without end":   {"", forever("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"), senseless},
		"go on without end":         {"", forever("HTTP/1.1 100 Continue\r\n\r\n"), senseless},
		"hints byte by byte":        {"", dripping("HTTP/1.1 103 Early Hints\r\n\r\n"), late},
		"frames of HTTP/2":          {"\x00\x00\x00\x04\x00\x00\x00\x00\x00", forever("\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"), senseless},
		"less than nothing":         {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", silent, senseless},
		"two lengths":               {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", silent, senseless},
		"no more":                   {"HTTP/1.1 204 No Content\r\n\r\n", silent, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := hostile(t, func(conn net.Conn) {
				if name != "nothing" {
					_, _ = bufio.NewReader(conn).ReadString('{')
				}
				_, _ = io.WriteString(conn, c.begin)
				c.then(conn)
			})
			if says := sent(t, Target{Kind: "webhook", URL: "http://" + address}, 2*time.Second); says != c.says {
				t.Errorf("an admin reads %q; want %q", says, c.says)
			}
		})
	}
}

// A server of NATS can neither end the program nor fill its memory: the library is given what it can read.
func TestHostileNATS(t *testing.T) {
	t.Parallel()
	const greeting = "INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,\"jetstream\":true}\r\n"
	for name, c := range map[string]struct{ greeting, answer string }{
		"a message larger than any memory":   {greeting, "MSG x 1 900000000000000000\r\na"},
		"a message of gigabytes":             {greeting, "MSG x 1 64000000000\r\na"},
		"with headers":                       {greeting, "HMSG x 1 10 900000000000000000\r\na"},
		"in small letters":                   {greeting, "msg x 1 900000000000000000\r\na"},
		"divided by a tab":                   {greeting, "MSG\tx 1\t900000000000000000\r\na"},
		"by a line of its own":               {greeting, "MSG x 1 900000000000000000\na"},
		"with a space behind":                {greeting, "MSG x 1 900000000000000000 \r\na"},
		"inside of a message":                {greeting, "MSG x 1 1\r\nxyzMSG x 1 40\r\nMSG x 1 900000000000000000\r\na"},
		"behind a message":                   {greeting, "MSG x 1 1\r\nx\r\nMSG x 1 900000000000000000\r\na"},
		"less than nothing":                  {greeting, "MSG x 1 -1\r\na"},
		"a line without end":                 {greeting, "-ERR " + strings.Repeat("x", 1<<20)},
		"a greeting without end":             {"INFO {" + strings.Repeat(" ", 1<<20), ""},
		"no greeting":                        {"HTTP/1.1 400 Bad Request\r\n\r\n", ""},
		"a greeting of nothing":              {"INFO \r\n", ""},
		"TLS alone, to who does not want it": {"INFO {\"tls_required\":true}\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := hostile(t, func(conn net.Conn) {
				_, _ = io.WriteString(conn, c.greeting)
				in := bufio.NewReader(conn)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					if line == "PING\r\n" {
						_, _ = io.WriteString(conn, "PONG\r\n"+c.answer)
					}
				}
			})
			if says := sent(t, Target{Kind: "nats", URL: "nats://" + address}, 2*time.Second); says == "" {
				t.Error("it was taken")
			}
		})
	}
}

// A line of the server that comes before TLS is not taken for one that comes inside.
func TestNATSBeforeTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	for name, c := range map[string]struct{ greeting, says string }{
		"no TLS":             {"INFO {}\r\n", "it does not speak TLS"},
		"more before it":     {"INFO {\"tls_required\":true}\r\n+OK\r\n", errNoNATS.Error()},
		"nothing more":       {"INFO {\"tls_required\":true}\r\n", "its certificate is for another name"},
		"available, no more": {"INFO {\"tls_available\":true}\r\n", "its certificate is for another name"},
	} {
		address := hostile(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, c.greeting)
			_ = tls.Server(conn, server.TLS).Handshake()
		})
		target := Target{Kind: "nats", URL: "tls://elsewhere.test:" + address[strings.LastIndexByte(address, ':')+1:], CA: authority}
		if says := sent(t, target, 5*time.Second); says != c.says {
			t.Errorf("%s: %q; want %q", name, says, c.says)
		}
	}
}
