package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
)

// scs.New starts the cleanup of a store in memory, and nothing ends it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup"))
}

// browser is an HTTP client with cookies of its own.
type browser struct {
	t      *testing.T
	client *http.Client
	url    string
}

// servers starts the server twice, on the same nodes.
func servers(t *testing.T) (nodes *embedded.Nodes, a, b *httptest.Server) {
	t.Helper()
	nodes, err := embedded.Start(5)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nodes.Close)
	serve := func() *httptest.Server {
		c, err := cluster.Open(t.Context(), cluster.Config{
			URLs: nodes.URLs(), NodeTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(context.Background()) })
		m, err := newSessions(c)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewTLSServer(handler(m))
		t.Cleanup(s.Close)
		return s
	}
	return nodes, serve(), serve()
}

func newBrowser(t *testing.T, s *httptest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := *s.Client()
	client.Jar = jar
	return &browser{t, &client, s.URL}
}

func (b *browser) do(req *http.Request) (status int, body string, cookies []*http.Cookie) {
	b.t.Helper()
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text)), resp.Cookies()
}

func (b *browser) get() (int, string, []*http.Cookie) {
	req, _ := http.NewRequest("GET", b.url+"/", nil)
	return b.do(req)
}

func (b *browser) post(path string, form url.Values) (int, string, []*http.Cookie) {
	req, _ := http.NewRequest("POST", b.url+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

// id is the session cookie that the browser has now.
func (b *browser) id() string {
	u, _ := url.Parse(b.url)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == "__Host-session" {
			return c.Value
		}
	}
	return ""
}

// as sends a request with this id in the cookie, as who has got hold of it.
func (b *browser) as(id string) (int, string) {
	req, _ := http.NewRequest("GET", b.url+"/", nil)
	req.AddCookie(&http.Cookie{Name: "__Host-session", Value: id})
	stranger := &browser{b.t, &http.Client{Transport: b.client.Transport}, b.url}
	status, body, _ := stranger.do(req)
	return status, body
}

var right = url.Values{"name": {name}, "password": {password}}

func (b *browser) says(what, want string) {
	b.t.Helper()
	if status, body, _ := b.get(); status != http.StatusOK || body != want {
		b.t.Errorf("%s: %d %q, want %q", what, status, body, want)
	}
}

func TestALogInFromTheFirstVisitToTheLogOut(t *testing.T) {
	nodes, first, second := servers(t)
	b := newBrowser(t, first)
	_, body, cookies := b.get()
	if body != "nobody, visit 1" || len(cookies) != 1 {
		t.Fatalf("%q, %v", body, cookies)
	}
	if c := cookies[0]; c.Name != "__Host-session" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("the cookie is %v", c)
	}
	before := b.id()

	if status, _, _ := b.post("/login", url.Values{"name": {name}, "password": {"wrong"}}); status != http.StatusForbidden {
		t.Errorf("a wrong password: %d", status)
	}
	if status, body, _ := b.post("/login", right); status != http.StatusOK || body != "welcome ann" {
		t.Fatalf("%d %q", status, body)
	}
	after := b.id()
	if after == before || after == "" {
		t.Error("the id is that of before the log-in")
	}
	if _, body := b.as(before); body != "nobody, visit 1" {
		t.Errorf("the id of before the log-in: %q", body)
	}

	b.says("after the log-in", "ann, visit 2")
	b.url = second.URL // the other process, which has the same host
	b.says("at the other server", "ann, visit 3")
	nodes.Stop(0)
	nodes.Stop(3)
	b.says("with two of five nodes gone", "ann, visit 4")

	if status, body, cookies := b.post("/logout", nil); status != http.StatusOK || body != "goodbye" || cookies[0].MaxAge >= 0 {
		t.Errorf("log-out: %d %q %v", status, body, cookies)
	}
	if b.id() != "" {
		t.Error("the browser still has a cookie")
	}
	for range 3 {
		if status, body := b.as(after); status != http.StatusOK || body != "nobody, visit 1" {
			t.Errorf("with the id of before the log-out: %d %q", status, body)
		}
	}
}

func TestAnIDThatWasMadeUpIsNeverASession(t *testing.T) {
	_, first, _ := servers(t)
	b := newBrowser(t, first)
	for _, id := range []string{"x", strings.Repeat("A", 43), strings.Repeat("A", 4000)} {
		if status, body := b.as(id); status != http.StatusOK || body != "nobody, visit 1" {
			t.Errorf("%d %q", status, body)
		}
	}
	u, _ := url.Parse(b.url)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-session", Value: strings.Repeat("A", 43), Secure: true, Path: "/"}})
	b.get()
	if b.id() == strings.Repeat("A", 43) {
		t.Error("the server took up an id that it had not given out")
	}
}

func TestAnotherSiteCannotHaveTheBrowserLogOut(t *testing.T) {
	_, first, _ := servers(t)
	b := newBrowser(t, first)
	b.post("/login", right)
	req, _ := http.NewRequest("POST", b.url+"/logout", nil)
	req.Header.Set("Origin", "https://evil.example")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, _, _ := b.do(req); status != http.StatusForbidden {
		t.Errorf("it was answered with %d", status)
	}
	b.says("after that", "ann, visit 1")
}

func TestBelowAQuorumNobodyIsLoggedOut(t *testing.T) {
	nodes, first, _ := servers(t)
	b := newBrowser(t, first)
	b.post("/login", right)
	for i := range 3 {
		nodes.Stop(i)
	}
	if status, _, cookies := b.get(); status != http.StatusServiceUnavailable || len(cookies) > 0 {
		t.Errorf("%d %v", status, cookies)
	}
	for i := range 3 {
		if err := nodes.Restart(i, false); err != nil {
			t.Fatal(err)
		}
	}
	over := time.After(20 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		status, body, _ := b.get()
		if status == http.StatusOK {
			if !strings.HasPrefix(body, "ann,") {
				t.Errorf("%q", body)
			}
			return
		}
		select {
		case <-look.C:
		case <-over:
			t.Fatal("in vain: waited for the nodes")
		}
	}
}
