"""Any corpus that lhotse has a recipe for.

python data_prep/lhotse.py --list
python data_prep/lhotse.py yesno --source waves_yesno --out data/yesno
"""

from asr.preparation.command import lhotse_main

if __name__ == "__main__":
    lhotse_main()
