package spelling

import "testing"

func TestNearest(t *testing.T) {
	candidates := []string{"authmodulelist", "daemons", "MYSQL_SERVER", "MYSQL_USERNAME"}
	for name, want := range map[string]string{
		"authmodulelst": "authmodulelist", "authmoduleslist": "authmodulelist", "AUTHMODULELIST": "authmodulelist",
		"deamons": "daemons", "MYSQL_SEVRER": "MYSQL_SERVER", "mysql_server": "MYSQL_SERVER",
		"MYSQL_USER": "", "MYSQL_SERVER": "", "": "", "nothing like it": "",
	} {
		if got := Nearest(name, candidates); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
