//go:build unix

package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// asMain has this test binary be the program.
const asMain = "REDLOCK_LOGIN_TEST_MAIN"

func init() {
	if os.Getenv(asMain) != "" {
		main()
		os.Exit(0)
	}
}

// The program as it runs: a log-in of which half has come when SIGTERM does is answered, and it ends without an error.
func TestProgram_AnswersPendingRequestsAtSIGTERM(t *testing.T) {
	pair := httptest.NewTLSServer(nil)
	defer pair.Close()
	cert, key := pemFiles(t, pair.TLS.Certificates[0])

	cmd := exec.Command(os.Args[0], cert, key)
	cmd.Env = append(os.Environ(), asMain+"=1", "LISTEN=127.0.0.1:0", "REDLOCK_NODES=")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(stderr)
	var said []string
	addr := ""
	for addr == "" && lines.Scan() {
		said = append(said, lines.Text())
		_, addr, _ = strings.Cut(lines.Text(), "listening at https://")
	}
	if addr == "" {
		t.Fatalf("it does not say where it listens: %q", said)
	}
	rest := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(stderr)
		rest <- string(text)
	}()

	roots := x509.NewCertPool()
	roots.AddCert(pair.Certificate())
	cn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer cn.Close()
	form := right.Encode()
	head := "POST /login HTTP/1.1\r\nHost: " + addr + "\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
		"Expect: 100-continue\r\nContent-Length: " + strconv.Itoa(len(form)) + "\r\n\r\n"
	if _, err := io.WriteString(cn, head); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(cn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100") { // the handler is reading
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := answers.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for { // until it is ending
		other, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		other.Close()
	}
	if _, err := io.WriteString(cn, form); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("the log-in was not answered: %v", err)
	}
	resp.Body.Close()
	if len(resp.Cookies()) == 0 {
		t.Errorf("the log-in was answered with %s, without a session", resp.Status)
	}
	text := <-rest
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, text)
	}
}

func pemFiles(t *testing.T, pair tls.Certificate) (cert, key string) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
