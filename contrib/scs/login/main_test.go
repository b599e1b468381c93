package main

import (
	"context"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/session"
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
			URLs: nodes.URLs(), NodeTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(context.Background()) })
		store, err := session.New(c, session.Config{Lifetime: lifetime})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		s := httptest.NewTLSServer(handler(newSessions(store)))
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

func TestLogin_FromTheFirstVisitToTheLogout(t *testing.T) {
	nodes, first, second := servers(t)
	b := newBrowser(t, first)
	if _, body, cookies := b.get(); body != "nobody" || len(cookies) != 0 {
		t.Fatalf("%q, %v; want nothing kept for a stranger", body, cookies)
	}
	_, _, cookies := b.post("/login", right) // as an attacker might, to have the browser use this id
	if len(cookies) != 1 {
		t.Fatal(cookies)
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
	if _, body := b.as(before); body != "nobody" {
		t.Errorf("the id of before the log-in: %q", body)
	}

	b.says("after the log-in", "ann, visit 1")
	b.url = second.URL // the other process, which has the same host
	b.says("at the other server", "ann, visit 2")
	nodes.Stop(0)
	nodes.Stop(3)
	b.says("with two of five nodes gone", "ann, visit 3")

	if status, body, cookies := b.post("/logout", nil); status != http.StatusOK || body != "goodbye" || cookies[0].MaxAge >= 0 {
		t.Errorf("log-out: %d %q %v", status, body, cookies)
	}
	if b.id() != "" {
		t.Error("the browser still has a cookie")
	}
	for range 3 {
		if status, body := b.as(after); status != http.StatusOK || body != "nobody" {
			t.Errorf("with the id of before the log-out: %d %q", status, body)
		}
	}
}

func TestLogin_AMadeUpIDIsNeverASession(t *testing.T) {
	_, first, _ := servers(t)
	b := newBrowser(t, first)
	for _, id := range []string{"x", strings.Repeat("A", 43), strings.Repeat("A", 4000)} {
		if status, body := b.as(id); status != http.StatusOK || body != "nobody" {
			t.Errorf("%d %q", status, body)
		}
	}
	u, _ := url.Parse(b.url)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-session", Value: strings.Repeat("A", 43), Secure: true, Path: "/"}})
	b.post("/login", right)
	if b.id() == strings.Repeat("A", 43) {
		t.Error("the server took up an id that it had not given out")
	}
}

func TestLogout_NotByAnotherSite(t *testing.T) {
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

func TestLogout_NotBelowAQuorum(t *testing.T) {
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
	over := time.After(time.Minute)
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

// What anybody can send makes the server keep nothing: no session, no file, no connection.
func TestServer_KeepsNothingForStrangers(t *testing.T) {
	files := t.TempDir()
	t.Setenv("TMPDIR", files)
	_, first, _ := servers(t)
	b := newBrowser(t, first)
	var parts strings.Builder
	form := multipart.NewWriter(&parts)
	for field, value := range map[string]string{"name": name, "password": password} {
		form.WriteField(field, value)
	}
	file, _ := form.CreateFormFile("file", "large")
	io.WriteString(file, strings.Repeat("x", 40<<20))
	form.Close()
	for what, send := range map[string]struct {
		kind, query, body string
		want              []int
	}{
		"a form in parts": {form.FormDataContentType(), "", parts.String(), []int{http.StatusUnsupportedMediaType}},
		"a large form": {"application/x-www-form-urlencoded", "", "name=" + strings.Repeat("x", maxForm),
			[]int{http.StatusRequestEntityTooLarge}},
		"a password in the query": {"application/x-www-form-urlencoded", "?" + right.Encode(), "", []int{http.StatusForbidden}},
		"no form":                 {"", "", right.Encode(), []int{http.StatusUnsupportedMediaType}},
		"half a form":             {"application/x-www-form-urlencoded", "", "name=%", []int{http.StatusBadRequest}},
	} {
		req, _ := http.NewRequest("POST", b.url+"/login"+send.query, strings.NewReader(send.body))
		req.Header.Set("Content-Type", send.kind)
		resp, err := b.client.Do(req)
		if err != nil { // the server has hung up on a body that it does not read
			continue
		}
		resp.Body.Close()
		if !slices.Contains(send.want, resp.StatusCode) || len(resp.Cookies()) > 0 {
			t.Errorf("%s: %d, %v; want %v", what, resp.StatusCode, resp.Cookies(), send.want)
		}
	}
	if left, err := os.ReadDir(files); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

func TestServer_DropsAClientThatSendsSlowly(t *testing.T) {
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	if server.ReadTimeout <= 0 || server.WriteTimeout <= 0 || server.IdleTimeout <= 0 || server.ReadHeaderTimeout <= 0 {
		t.Fatalf("%+v bounds not all that a client can do", server)
	}
	server.ReadTimeout = 100 * time.Millisecond // else as it is
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, server, func() error { return server.Serve(listener) }) }()
	cn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer cn.Close()
	io.WriteString(cn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")
	cn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, cn); err != nil { // until it is closed
		t.Errorf("the connection is kept: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A request that was begun is answered when the server is asked to end, which it does only then.
func TestServer_AnswersARequestInFlightAtShutdown(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		io.WriteString(w, "done")
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, body := make(chan error, 1), make(chan string, 1)
	go func() { ended <- serve(ctx, server, func() error { return server.Serve(listener) }) }()
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + listener.Addr().String())
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		body <- string(text)
	}()
	<-begun
	stop()
	for { // until it is ending
		cn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		cn.Close()
	}
	select {
	case err := <-ended:
		t.Errorf("it ended with a request in flight: %v", err)
	default:
	}
	close(goOn)
	if got := <-body; got != "done" {
		t.Errorf("the request was answered with %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestLogout_EverywhereEndsAllSessionsOfTheUser(t *testing.T) {
	_, first, second := servers(t)
	a, b := newBrowser(t, first), newBrowser(t, second)
	if status, _, _ := a.post("/logout/everywhere", nil); status != http.StatusUnauthorized {
		t.Errorf("as a stranger: %d", status)
	}
	a.post("/login", right)
	b.post("/login", right)
	a.says("at one", "ann, visit 1")
	b.says("at the other", "ann, visit 1")
	if status, body, cookies := a.post("/logout/everywhere", nil); status != http.StatusOK || len(cookies) != 1 || cookies[0].MaxAge >= 0 {
		t.Errorf("%d %q %v", status, body, cookies)
	}
	a.says("after it", "nobody")
	b.says("at the other after it", "nobody")
}
