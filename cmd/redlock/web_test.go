package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// page requests a page under a host's name, and returns its status and text.
func page(t *testing.T, address, host string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if req.Host = host; host == "" {
		req.Host = req.URL.Host
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// usersFile returns a file with one user, ann, whose password is "right".
func usersFile(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("# on call\nann:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWeb_ServesPagesUntilASignal(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		locker := newLocker(t, s.URLs())
		l, err := locker.Lock(t.Context(), "order:42")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release(t.Context())
		p := launch(t, s.URLs(), "web", "--listen", "127.0.0.1:0")
		line := p.stdout.line(t, "http://")
		if !strings.Contains(line, "(read-only)") {
			t.Errorf("it prints %q", line)
		}
		address, _, _ := strings.Cut(line, " ")
		harness.Eventually(t, "the lock on the page", func() bool {
			_, body := page(t, address, "")
			return strings.Contains(body, "order:42")
		})
		if _, body := page(t, address+"lock?key=order:42", ""); strings.Contains(body, "Take the lock away") {
			t.Error("a read-only page has a form to release")
		}
		if status, _ := page(t, address, "redlock.attacker.example"); status != http.StatusMisdirectedRequest {
			t.Errorf("under another name: status %d", status)
		}
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.exit(0)
	})
}

func TestWeb_ReleasesOnlyWithTheFlag(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(t.Context())
	p := launch(t, s.URLs(), "web", "--listen", "localhost:0", "--allow-release")
	address, _, _ := strings.Cut(p.stdout.line(t, "(locks can be released)"), " ")
	_, body := page(t, address+"lock?key=order:42", "")
	seen := regexp.MustCompile(`name="seen" value="([0-9a-f]+)"`).FindStringSubmatch(body)
	if seen == nil {
		t.Fatalf("no form in\n%s", body)
	}
	form := url.Values{"confirm": {"order:42"}, "seen": {seen[1]}, "reason": {"a test"}}
	res, err := http.PostForm(address+"release?key=order:42", form)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	<-l.Done()
	p.stderr.line(t, "released by force")
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	p.exit(0)
}

func TestWeb_BasicAuth(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	p := launch(t, s.URLs(), "web", "--listen", "127.0.0.1:0", "--basic-auth-file", usersFile(t), "--allow-release")
	address, _, _ := strings.Cut(p.stdout.line(t, "http://"), " ")
	for _, tt := range []struct {
		name, password string
		want           int
	}{{"ann", "right", 200}, {"ann", "wrong", 401}, {"bob", "right", 401}, {"", "", 401}, {"ann", "right", 200}} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(tt.name, tt.password)
		if status, _ := page(t, address, "", "Authorization", r.Header.Get("Authorization")); status != tt.want {
			t.Errorf("%s with %q: status %d, want %d", tt.name, tt.password, status, tt.want)
		}
	}
	if status, _ := page(t, address+"style.css", ""); status != 401 {
		t.Errorf("without a name: status %d", status)
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	p.exit(0)
}

func TestWeb_BadFlags(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	empty, odd, twice := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "odd"), filepath.Join(t.TempDir(), "twice")
	ann, err := os.ReadFile(usersFile(t))
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{empty: "\n# nobody\n", odd: "ann:plain\n", twice: string(ann) + "\n" + string(ann)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--listen", "0.0.0.0:0", "--allow-release"}, 2, "others can reach 0.0.0.0:0"},
		{[]string{"--listen", ":0", "--allow-release"}, 2, "others can reach :0"},
		{[]string{"--listen", "nowhere"}, 2, "give a host and a port"},
		{[]string{"--listen", "127.0.0.1:1x"}, 1, "--listen"},
		{[]string{"--listen", "127.0.0.1:0", "--every", "1ms"}, 2, "at least 500ms"},
		{[]string{"--basic-auth-file", "missing"}, 2, "no such file"},
		{[]string{"--basic-auth-file", empty}, 2, "names nobody"},
		{[]string{"--basic-auth-file", odd}, 2, "line 1: not a name and a bcrypt hash"},
		{[]string{"--basic-auth-file", twice}, 2, `line 5: "ann" is named twice`},
	} {
		p := operate(t, s.URLs(), tt.code, append([]string{"web"}, tt.args...)...)
		if !strings.Contains(p.stderr.String(), tt.want) {
			t.Errorf("%q: %s", tt.args, p.stderr)
		}
	}
}
