package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// prometheus is one that runs with the files of etc/prometheus.
type prometheus struct {
	*harness.Process
	began time.Time
}

const prometheusAddr = "127.0.0.1:9090"

// hurry has what takes minutes take seconds; thresholds stay.
func hurry(text string) string {
	for _, r := range [][2]string{
		{`(scrape|evaluation)_interval: \d+s`, "${1}_interval: 1s"}, {`(?m)^( +for): \w+$`, "$1: 2s"},
		{`\[5m\]`, "[5s]"}, {`offset 10m`, "offset 5s"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

// startPrometheus checks the files as they are with promtool, and starts Prometheus with them in a hurry.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	from, dir := filepath.Join(harness.Root(t), "etc/prometheus"), t.TempDir()
	harness.Run(t, "", "promtool", "check", "config", filepath.Join(from, "prometheus.yml"))
	for _, name := range []string{"prometheus.yml", "mailproxy.rules.yml"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(hurry(string(text))), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p := &prometheus{began: time.Now()}
	p.Process = harness.Start(t,
		exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
			"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+prometheusAddr))
	ready := func() bool {
		answer, err := http.Get("http://" + prometheusAddr + "/-/ready")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}
	if !harness.Eventually(ready) {
		t.Fatal("Prometheus does not answer")
	}
	return p
}

// get asks Prometheus' HTTP API.
func (p *prometheus) get(t *testing.T, path string, form url.Values, data any) {
	t.Helper()
	answer, err := http.Get("http://" + prometheusAddr + "/api/v1/" + path + "?" + form.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		Data  json.RawMessage
		Error string
	}
	if err = json.NewDecoder(answer.Body).Decode(&body); err == nil && body.Error == "" {
		err = json.Unmarshal(body.Data, data)
	}
	if err != nil || body.Error != "" {
		t.Fatalf("%s: %v: %v %s", path, form, err, body.Error)
	}
}

// series is one result of a query over the whole run: seconds since its beginning, and values.
type series struct {
	labels map[string]string
	x, y   []float64
}

// query asks for a value every second since the beginning.
func (p *prometheus) query(t *testing.T, expr string) []series {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Values [][2]any
		}
	}
	p.get(t, "query_range", url.Values{"query": {expr}, "step": {"1"},
		"start": {stamp(p.began)}, "end": {stamp(time.Now())}}, &data)
	var all []series
	for _, r := range data.Result {
		s := series{labels: r.Metric}
		for _, v := range r.Values {
			y, err := strconv.ParseFloat(fmt.Sprint(v[1]), 64)
			if err != nil {
				t.Fatal(err)
			}
			if y == y { // not NaN
				s.x, s.y = append(s.x, v[0].(float64)-float64(p.began.UnixMilli())/1000), append(s.y, y)
			}
		}
		if len(s.x) > 0 {
			all = append(all, s)
		}
	}
	return all
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// fired are the alerts that have fired since that second, with their jobs.
func (p *prometheus) fired(t *testing.T, since float64) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, s := range p.query(t, `ALERTS{alertstate="firing"}`) {
		if name := s.labels["alertname"]; s.x[len(s.x)-1] >= since {
			all[name] = append(all[name], s.labels["job"])
		}
	}
	return all
}

// now is the second of the run.
func (p *prometheus) now() float64 { return time.Since(p.began).Seconds() }

// rules are the names of all alerts that there are.
func (p *prometheus) rules(t *testing.T) (names []string) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct {
				Name        string
				Annotations map[string]string
			}
		}
	}
	p.get(t, "rules", nil, &data)
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			names = append(names, r.Name)
			if r.Annotations["summary"] == "" {
				t.Errorf("%s does not say what to do", r.Name)
			}
		}
	}
	return names
}
