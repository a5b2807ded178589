command -v module >/dev/null 2>&1 || for gat_f in ${MODULESHOME:+"$MODULESHOME/init/sh"} /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh /usr/share/lmod/lmod/init/sh /usr/share/Modules/init/sh /usr/share/modules/init/sh; do
	[ -r "$gat_f" ] && . "$gat_f" </dev/null >/dev/null 2>&1
	command -v module >/dev/null 2>&1 && break
done
